"""Metrics of a run: learning curve, latest step and training time, as typed values."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from charlm.results.comparison import ValidationCurve, ValidationPoint
from charlm.results.training import (
    BranchMetrics,
    Metrics,
    RunEvent,
    StepMetrics,
    ValidationMetrics,
)

TAIL_BYTES = 2**20  # enough of the end of metrics.jsonl to hold a validation


class LatestMetrics(NamedTuple):
    """Latest step and validation of a run."""

    step: int = 0  # optimizer steps done
    valid_bits: float | None = None  # latest validation, bits per token


def iter_metrics(run_dir: Path) -> Iterator[Metrics]:
    """Yield the metrics of a run in order; an incomplete last line is skipped."""
    for line in _complete_lines(run_dir / "metrics.jsonl"):
        yield _decode(line)


def load_latest_metrics(run_dir: Path) -> LatestMetrics:
    """Return the latest step and validation, from the end of the file alone."""
    path = run_dir / "metrics.jsonl"
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            tail = file.read()
    except FileNotFoundError:
        return LatestMetrics()
    lines = [line for line in tail.splitlines()[bool(start) :] if line.endswith(b"}")]
    step = 0
    for metrics in map(_decode, reversed(lines)):
        if isinstance(metrics, BranchMetrics):
            continue  # it ended at a step that the run itself has not reached
        step = max(step, metrics.step)
        if isinstance(metrics, ValidationMetrics):
            return LatestMetrics(step, metrics.valid_bits)
    return LatestMetrics(step)


def load_validation_curve(run_dir: Path) -> ValidationCurve:
    """Return bits per token against tokens read and seconds of training."""
    seconds = {
        event.step: event.seconds for event in iter_events(run_dir) if event.event == "validated"
    }
    return tuple(
        ValidationPoint(metrics.characters, seconds[metrics.step], metrics.valid_bits)
        for metrics in iter_metrics(run_dir)
        if isinstance(metrics, ValidationMetrics) and metrics.step in seconds
    )


def load_branches(run_dir: Path) -> tuple[BranchMetrics, ...]:
    """Return the decayed copies of a run that were validated so far, least fraction first.

    The last point of `load_validation_curve` is the run itself at all of its budget.
    """
    return tuple(m for m in iter_metrics(run_dir) if isinstance(m, BranchMetrics))


def iter_events(run_dir: Path) -> Iterator[RunEvent]:
    """Yield the events of a run in order; an incomplete last line is skipped."""
    for line in _complete_lines(run_dir / "events.jsonl"):
        yield msgspec.json.decode(line, type=RunEvent)


def _complete_lines(path: Path) -> list[bytes]:
    """Return the lines of a log, without those that a kill cut off."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [line for line in lines if line.endswith(b"}")]


def _decode(line: bytes) -> Metrics:
    if b'"fraction"' in line:
        return msgspec.json.decode(line, type=BranchMetrics)
    if b'"valid_bits"' in line:
        return msgspec.json.decode(line, type=ValidationMetrics)
    return msgspec.json.decode(line, type=StepMetrics)
