"""Test of readers of a run that is being written: the newest whole checkpoint, no warning."""

import pytest
from faults import live_readers


@pytest.mark.slow
def test_readers_of_a_live_run_see_its_newest_checkpoint() -> None:
    hazard = live_readers.run(0.005)
    assert hazard.failures == () and hazard.trials >= len(live_readers.READINGS)
