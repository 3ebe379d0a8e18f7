"""Hostile compressed files and exported models: a sample of those of `make faults`."""

import random
from pathlib import Path

import pytest
from faults import hostile_archives
from faults.hostile_archives import read_container, read_model, run, write_container, write_model

from charlm.exporting import numpy_reader


def test_hostile_archives_end_in_one_line() -> None:
    hazard = run(0.005)
    assert hazard.trials == 100
    assert hazard.failures == ()


def test_sound_archives_are_read_and_a_reader_that_fails_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = write_container(tmp_path / "a.clz")
    assert read_container(tmp_path / "a.clz", packed, packed) == ""
    files = write_model(tmp_path / "model")
    assert hostile_archives._call(tmp_path / "model", ["ab"]) == (0, "")
    monkeypatch.setattr(numpy_reader, "MODEL_ERRORS", ())
    found = [read_model(tmp_path / "model", files, n, random.Random(n)) for n in range(1, 40)]
    assert any("exit code" in problem for problem in found)
