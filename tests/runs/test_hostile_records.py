"""Tests of settings, reports and logs that a stranger wrote: impossible values are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DataError
from charlm.results.run import RunRecord
from charlm.runs.listing import list_runs
from charlm.runs.metrics import load_latest_metrics, load_validation_curve
from charlm.runs.run import Run
from charlm.storage.append_only_log import seal_line
from charlm.storage.json_files import read_json, seal_json
from charlm.training.completion import restore_trainer


@pytest.fixture
def run(stopped_run: Run) -> Run:
    return stopped_run


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(max_steps=0),
        lambda d: d.update(max_steps=10**12),
        lambda d: d.update(parameters=-1),
        lambda d: d["text"].update(sources=[]),
        lambda d: d["text"].update(sources=["a\0b"]),
        lambda d: d["text"].update(splits={}),
        lambda d: d["text"]["splits"].update(train=[0, 0]),
        lambda d: d["text"]["splits"].update(train=[5, 2]),
        lambda d: d["text"]["splits"].update(train=[-5, 2]),
        lambda d: d["text"]["splits"].update(test=[0, 10**9]),
        lambda d: d["text"]["splits"].update(test=d["text"]["splits"]["train"]),
        lambda d: d["text"]["splits"].update(more=[0, 1]),
        lambda d: d["text"]["digest"].update(sha256="../../x"),
        lambda d: d["text"]["notes"].append({"kind": "bom", "files": 10**30}),
        lambda d: d["config"].update(forget_bias="1e39"),
        lambda d: d["config"].update(branches="1/2," * 9999),
        lambda d: d["config"].update(learning_rate=1e300),
        lambda d: d["environment"].update(threads=-1),
    ],
)
def test_impossible_settings_are_refused(run: Run, change: Callable[[Any], object]) -> None:
    data = json.loads((run.path / "run.json").read_text())
    change(data)
    (run.path / "run.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match="is damaged: .*Restore it"):
        Run(run.path)
    assert list_runs([run.path]).runs[0].state == "damaged"


def test_vocabulary_of_another_kind_is_refused(run: Run) -> None:
    vocabulary = Vocabulary("bytes", tuple(range(256)))
    (run.path / "vocabulary.json").write_bytes(msgspec.json.encode(vocabulary))
    with pytest.raises(DataError, match="vocabulary.json is damaged: it has bytes"):
        Run(run.path)


@pytest.mark.parametrize("change", [lambda blocks: blocks[:-1], lambda blocks: []])
@pytest.mark.parametrize("name", ["block_bits", "block_lengths"])
def test_score_needs_bits_and_a_length_for_each_unit(
    trained: Path, tmp_path: Path, name: str, change: Callable[[list[float]], list[float]]
) -> None:
    path = Path(shutil.copytree(trained, tmp_path / "run"))
    report = json.loads((path / "report.json").read_text())
    report["score"][name] = change(report["score"][name])
    del report["sha256"]
    (path / "report.json").write_bytes(seal_json(report))
    with pytest.raises(DataError, match="report.json is damaged: .*one entry for each unit"):
        _ = Run(path).report


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format":' + "9" * 5000 + "}", "{}", "\xff"])
def test_json_that_no_parser_survives_is_refused(run: Run, text: str) -> None:
    (run.path / "report.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="is damaged"):
        _ = run.report
    (run.path / "run.json").write_text(text, encoding="latin-1")
    for call in (Run, lambda path: read_json(path / "run.json", RunRecord)):
        with pytest.raises((DataError, ConfigError), match="is damaged|has format"):
            call(run.path)
    assert list_runs([run.path]).runs[0].state in ("damaged", "incompatible")


@pytest.mark.parametrize("line", [b'{"step":1', b'{"step":"one"}', b"", b"\xff", b"[" * 9999])
@pytest.mark.parametrize("is_sealed", [True, False])
def test_damaged_line_of_a_log_is_named(run: Run, line: bytes, is_sealed: bool) -> None:
    path = run.path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[-1] = seal_line(line + b"}") if is_sealed else line + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match="metrics.jsonl: line 2 is damaged"):
        load_validation_curve(run.path)
    with pytest.raises(DataError, match="metrics.jsonl: line 1 from the end is damaged"):
        load_latest_metrics(run.path)
    with pytest.raises(DataError, match="metrics.jsonl: line 2 is damaged"):
        restore_trainer(run, "cpu", run.record.config)


def test_endless_line_of_a_log_is_not_read_into_memory(run: Run) -> None:
    with (run.path / "events.jsonl").open("ab") as file:
        file.truncate(10**11)  # a hole: it takes no space on the disk
    with pytest.raises(DataError, match="it has more than 65,536 bytes"):
        load_validation_curve(run.path)
