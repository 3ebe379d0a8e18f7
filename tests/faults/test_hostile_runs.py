"""Hostile runs and comparisons end in documented ways: a sample of `make faults`."""

from faults.hostile import run


def test_hostile_files_end_as_documented_and_touch_nothing_outside() -> None:
    hazard = run(0.002)
    assert not hazard.failures, "\n".join(hazard.failures)
    assert hazard.trials > 200
