"""Tests of readers of a run that is being written: the newest whole checkpoint, no warning."""

from pathlib import Path

import pytest
from faults import live_readers

from charlm.runs.checkpoint_reader import CheckpointReader


@pytest.mark.slow
def test_readers_of_a_live_run_see_its_newest_checkpoint() -> None:
    hazard = live_readers.run(0.005)
    assert hazard.failures == () and hazard.trials >= len(live_readers.READINGS)


@pytest.mark.slow
def test_reader_of_an_old_list_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the list of checkpoints is read once."""
    lists: dict[Path, dict[int, Path]] = {}
    original = CheckpointReader._list

    def list_once(self: CheckpointReader) -> dict[int, Path]:
        return lists.setdefault(self.path, original(self))

    monkeypatch.setattr(CheckpointReader, "_list", list_once)
    assert live_readers.run(0.003).failures
