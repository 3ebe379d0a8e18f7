"""Metrics of runs as scalars, and as event files that TensorBoard reads back."""

import csv
import io
import json
from pathlib import Path

import pytest
from conftest import charlm

from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.results.training import BranchMetrics, StepMetrics, ValidationMetrics
from charlm.runs.metrics import iter_events, iter_metrics
from charlm.runs.scalars import load_metrics, scalars_of


def test_scalars_have_the_recorded_times() -> None:
    times = {4: 100.0}
    step = scalars_of(StepMetrics(3, 30, 2.0, 1.5, 0.01), times)
    assert [(scalar.tag, scalar.value) for scalar in step] == [
        ("train/bits", 2.0),
        ("train/gradient_norm", 1.5),
        ("train/learning_rate", 0.01),
    ]
    assert {scalar.time for scalar in step} == {None}
    (valid,) = scalars_of(ValidationMetrics(4, 40, 1.9), times)
    assert (valid.tag, valid.step, valid.characters, valid.time) == ("valid/bits", 4, 40, 100.0)
    (branch,) = scalars_of(BranchMetrics(0.5, 4, 40, 1.8), times)
    assert branch.tag == "valid/bits_of_decayed_copies"
    assert scalars_of(BranchMetrics(0.5, 4, 40, None), times) == []


def test_csv_has_every_metric_of_a_run(trained: Path) -> None:
    done = charlm("metrics", trained)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    steps = [each for each in iter_metrics(trained) if isinstance(each, StepMetrics)]
    shown = [row for row in rows if row["tag"] == "train/bits"]
    assert [float(row["value"]) for row in shown] == [each.bits for each in steps]
    assert {row["run"] for row in rows} == {"lstm"} and shown[-1]["step"] == "60"
    valid = [row for row in rows if row["tag"] == "valid/bits"]
    recorded = {event.step: event.time for event in iter_events(trained)}
    assert all(float(row["time"]) == recorded[int(row["step"])] for row in valid) and valid
    assert all(row["time"] == "" for row in shown if int(row["step"]) not in recorded)
    as_json = json.loads(charlm("metrics", trained, "--json").stdout)
    assert len(as_json["runs"][0]["scalars"]) == len(rows)


def test_tensorboard_reads_back_what_was_exported(trained: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logs = tmp_path / "logs"
    done = charlm("metrics", trained, "--tensorboard", logs, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == ["lstm"]
    read = events.EventAccumulator(str(logs / "lstm"), {"scalars": 0, "tensors": 0})
    read.Reload()
    (run,) = load_metrics([trained]).runs
    tags = {scalar.tag for scalar in run.scalars}
    assert set(read.Tags()["scalars"]) == tags
    for tag in tags:
        ours = [scalar for scalar in run.scalars if scalar.tag == tag]
        theirs = read.Scalars(tag)
        assert [event.step for event in theirs] == [scalar.step for scalar in ours]
        assert [event.value for event in theirs] == pytest.approx([s.value for s in ours])
        for event, scalar in zip(theirs, ours, strict=True):
            assert scalar.time is None or event.wall_time == pytest.approx(scalar.time)
    times = [event.wall_time for event in read.Scalars("train/bits")]
    assert times == sorted(times) and times[0] == run.started
    (settings,) = read.Tensors("settings")
    assert "| hidden_size | `24` |" in settings.tensor_proto.string_val[0].decode()
    again = charlm("metrics", trained, "--tensorboard", logs)
    assert again.returncode == 73 and b"logs: it exists" in again.stderr


def test_metrics_of_several_runs_are_named_by_their_directories(
    trained: Path, tmp_path: Path
) -> None:
    for name in ("a/x", "b"):
        (tmp_path / name).mkdir(parents=True)
        for file in ("run.json", "metrics.jsonl"):
            (tmp_path / name / file).write_bytes((trained / file).read_bytes())
    metrics = load_metrics([tmp_path, tmp_path / "b"])
    assert [run.run for run in metrics.runs] == ["a/x", "b"]
    assert metrics.runs[0].started is None


def test_missing_runs_and_damaged_metrics_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="there is no run in it. Try charlm runs"):
        load_metrics([tmp_path])
    run = tmp_path / "r"
    run.mkdir()
    (run / "run.json").write_bytes((trained / "run.json").read_bytes())
    (run / "metrics.jsonl").write_text('{"step":"one"}\n')
    with pytest.raises(DataError, match="metrics.jsonl: line 1 is damaged: .*Restore it"):
        load_metrics([run])
    (run / "run.json").write_text('{"format": 1}')
    with pytest.raises(ConfigError, match="it has format 1, this charlm reads format"):
        load_metrics([run])
