"""Tests of the metrics that a comparison reads from a run."""

from pathlib import Path

import pytest
from conftest import make_run

from charlm.results.training import StepMetrics, ValidationMetrics
from charlm.runs import metrics
from charlm.runs.metrics import load_latest_metrics, load_validation_curve
from charlm.runs.run import Run
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop


@pytest.fixture
def run(tmp_path: Path, book: Path) -> Run:
    run, corpus, config = make_run(tmp_path / "r", book, eval_every=5)
    trainer, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, trainer, corpus))
    return run


def test_curve_has_each_validation_with_its_time(run: Run) -> None:
    lines = list(metrics.iter_metrics(run.path))
    validations = [line for line in lines if isinstance(line, ValidationMetrics)]
    assert [line.step for line in lines if isinstance(line, StepMetrics)] == list(range(1, 13))
    curve = load_validation_curve(run.path)
    assert [point.bits for point in curve] == [line.valid_bits for line in validations]
    assert [point.characters for point in curve] == [5 * 64, 10 * 64, 12 * 64]
    assert 0 < curve[0].seconds < curve[1].seconds < curve[2].seconds


def test_events_tell_starts_validations_and_checkpoints(run: Run) -> None:
    events = list(metrics.iter_events(run.path))
    assert [event.event for event in events][:2] == ["started", "validated"]
    assert (events[0].device, events[0].processes, events[0].step) == ("cpu", 1, 0)
    assert events[-1].event == "checkpointed" and events[-1].step == 12


def test_incomplete_lines_are_skipped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run.path / "metrics.jsonl"
    latest = load_latest_metrics(run.path)
    assert latest.step == 12 and latest.valid_bits == load_validation_curve(run.path)[-1].bits
    path.write_bytes(path.read_bytes() + b'{"step":99,"bi')
    assert load_latest_metrics(run.path) == latest
    assert len(load_validation_curve(run.path)) == 3
    monkeypatch.setattr(metrics, "TAIL_BYTES", 200)  # begins within a line
    assert load_latest_metrics(run.path) == latest


def test_run_without_metrics_has_not_begun(tmp_path: Path) -> None:
    assert load_latest_metrics(tmp_path) == (0, None)
    assert load_validation_curve(tmp_path) == ()
