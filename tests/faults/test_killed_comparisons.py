"""Test of a comparison whose processes are killed at random: its report does not change."""

import pytest
from faults import killed_comparisons


@pytest.mark.slow
def test_kills_do_not_change_the_report() -> None:
    hazard = killed_comparisons.run(0.02)
    assert hazard.failures == () and hazard.trials >= 3
