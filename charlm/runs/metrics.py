"""Metrics of a run: learning curve, latest step and training time, as typed values."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from charlm.results.comparison import ValidationCurve, ValidationPoint
from charlm.results.training import (
    BranchMetrics,
    Metrics,
    RunEvent,
    StepMetrics,
    TrainingProgress,
    ValidationMetrics,
)
from charlm.storage.append_only_log import (
    damaged_line,
    has_damaged_end,
    iter_log_lines,
    unseal_line,
)
from charlm.storage.reading import FileError, MissingFileError, read_tail

T = TypeVar("T")
METRICS_FILE, EVENTS_FILE = "metrics.jsonl", "events.jsonl"
TAIL_BYTES = 2**20  # enough of the end of metrics.jsonl to hold a validation


class LatestMetrics(NamedTuple):
    """Latest step and validation of a run."""

    step: int = 0  # optimizer steps done
    valid_bits: float | None = None  # latest validation, bits per token


def iter_metrics(run_dir: Path) -> Iterator[Metrics]:
    """Yield the metrics of a run in order; an incomplete last line is skipped.

    Raises:
        DataError: A line is damaged; the message names it.
    """
    path = run_dir / METRICS_FILE
    for number, line in enumerate(_iter_log(path), 1):
        yield decode_metrics(line, path, f"line {number}")


def load_latest_metrics(run_dir: Path) -> LatestMetrics:
    """Return the latest step and validation, from the end of the file alone.

    Raises:
        DataError: A line there is damaged; the message names it.
    """
    path = run_dir / METRICS_FILE
    try:
        tail = read_tail(path, TAIL_BYTES)
    except MissingFileError:
        return LatestMetrics()
    lines = tail.bytes.splitlines(keepends=True)[bool(tail.start) :]
    step = 0
    for number, line in enumerate(reversed(lines), 1):
        where = f"line {number} from the end"
        if has_damaged_end(line):
            raise damaged_line(path, where, "its line end was changed")
        if not line.endswith(b"\n"):
            continue  # cut off by a kill, or being written
        unsealed = unseal_line(line)
        if unsealed is None:
            raise damaged_line(path, where)
        metrics = decode_metrics(unsealed, path, where)
        if isinstance(metrics, BranchMetrics):
            continue  # it ended at a step that the run itself has not reached
        step = max(step, metrics.step)
        if isinstance(metrics, ValidationMetrics):
            return LatestMetrics(step, metrics.valid_bits)
    return LatestMetrics(step)


def check_metrics_before(run_dir: Path, progress: TrainingProgress) -> None:
    """Check that the metrics up to a checkpoint are there, so that a run can go on from it.

    Raises:
        DataError: Lines are missing or damaged.
    """
    path = run_dir / METRICS_FILE
    length, step = 0, 0
    with suppress(MissingFileError):
        lines = enumerate(iter_log_lines(path), 1)
        while length < progress.metrics_bytes:  # lines after it are cut off: they may be damaged
            number, line = next(lines, (0, None))
            if line is None:
                break
            metrics = decode_metrics(line.json, path, f"line {number}")
            length += line.size
            step = step if isinstance(metrics, BranchMetrics) else metrics.step
    if length != progress.metrics_bytes or step != progress.step:
        raise FileError(
            f"cannot continue {run_dir}: {path} has lost lines. Restore that file, or train a new "
            "run",
            path,
            "it has lost lines",
        )


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
    """Yield the events of a run in order; an incomplete last line is skipped.

    Raises:
        DataError: A line is damaged; the message names it.
    """
    path = run_dir / EVENTS_FILE
    for number, line in enumerate(_iter_log(path), 1):
        yield _decode(line, RunEvent, path, f"line {number}")


def decode_metrics(line: bytes, path: Path, where: str) -> Metrics:
    """Return the metrics of a line.

    Raises:
        DataError: It has no metrics; the message names path and line.
    """
    if b'"fraction"' in line:
        return _decode(line, BranchMetrics, path, where)
    if b'"valid_bits"' in line:
        return _decode(line, ValidationMetrics, path, where)
    return _decode(line, StepMetrics, path, where)


def _iter_log(path: Path) -> Iterator[bytes]:
    with suppress(MissingFileError):
        for line in iter_log_lines(path):
            yield line.json


def _decode(line: bytes, kind: type[T], path: Path, where: str) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged_line(path, where, str(error)) from error
