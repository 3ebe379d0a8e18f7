"""Tests of golden runs: every released format is there, opens, scores the same, and is resumed."""

import shutil
from pathlib import Path

import msgspec
import pytest
from faults import golden_runs
from faults.golden_runs import GOLDEN, read_scores

from charlm.config import FORMAT_VERSION
from charlm.runs.run import Run
from charlm.storage.json_files import encode_json

FIRST_FORMAT = 6  # of the first golden run
FORMATS = range(FIRST_FORMAT, FORMAT_VERSION + 1)


def test_every_format_has_golden_runs() -> None:
    assert [f"format-{number}" for number in FORMATS] == [
        folder.name for folder in sorted(GOLDEN.glob("format-*"))
    ]


@pytest.mark.slow
def test_golden_runs_score_the_same_to_the_last_digit() -> None:
    hazard = golden_runs.run(1)
    assert hazard.failures == () and hazard.trials == 2 * len(FORMATS)


def test_changed_score_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(GOLDEN / f"format-{FORMAT_VERSION}", tmp_path / "format-0")
    scores = read_scores(folder)
    digits = scores["lstm"].exact
    scores["lstm"] = msgspec.structs.replace(
        scores["lstm"], exact=f"{digits[:-1]}{(int(digits[-1]) + 5) % 10}"
    )
    (folder / "scores.json").write_bytes(encode_json(scores))
    monkeypatch.setattr(golden_runs, "GOLDEN", tmp_path)
    (problem,) = golden_runs.run(1).failures
    assert "lstm: it scores" in problem and digits in problem


def test_golden_runs_are_small_and_name_no_machine() -> None:
    for folder in GOLDEN.glob("format-*"):
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 100_000
        for name in read_scores(folder):
            (source,) = Run(folder / name).record.text.sources
            assert source.startswith("/tmp/") and not Path(source).exists()
