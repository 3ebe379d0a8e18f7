"""Hostile runs and comparisons end in documented ways: a sample of `make faults`."""

import pytest
from faults.hostile import run


@pytest.mark.slow
def test_hostile_files_end_as_documented_and_touch_nothing_outside() -> None:
    hazard = run(0.001)
    assert not hazard.failures, "\n".join(hazard.failures)
    assert hazard.trials > 140
