"""Metrics of runs as scalars with steps and times, for other tools."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from charlm.config import FORMAT_VERSION
from charlm.errors import InputNotFoundError
from charlm.results.metrics import RunScalars, RunsMetrics, Scalar
from charlm.results.run import RunRecord
from charlm.results.training import BranchMetrics, Metrics, StepMetrics, ValidationMetrics
from charlm.runs.listing import find_runs, format_error, natural_order, read_format_header
from charlm.runs.metrics import iter_events, iter_metrics
from charlm.storage.json_files import read_json

# Name of each number of the metrics, in the groups that TensorBoard shows.
STEP_TAGS = {
    "bits": "train/bits",
    "gradient_norm": "train/gradient_norm",
    "learning_rate": "train/learning_rate",
}
VALID_TAG, BRANCH_TAG = "valid/bits", "valid/bits_of_decayed_copies"


def load_metrics(directories: Sequence[str | Path]) -> RunsMetrics:
    """Return the metrics of all runs below directories, those of comparisons included.

    Args:
        directories: Directories; each may be a run itself.

    Raises:
        InputNotFoundError: A directory does not exist, or none has a run.
        ConfigError: A run has another format.
        DataError: A file of a run is damaged.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for directory in map(Path, directories):
        for path in find_runs(directory):
            found.setdefault(os.path.realpath(path), (path, directory))
    if not found:
        raise InputNotFoundError(
            f"cannot read {', '.join(map(str, directories))}: there is no run in it. Try charlm "
            "runs for a list"
        )
    paths = sorted(found.values(), key=lambda pair: natural_order(pair[0]))
    base = Path(os.path.commonpath([os.path.abspath(path) for path, _ in paths]))
    base = base.parent if len(paths) == 1 else base
    return RunsMetrics(
        runs=tuple(
            load_run_scalars(path, str(Path(os.path.abspath(path)).relative_to(base)))
            for path, _ in paths
        )
    )


def load_run_scalars(path: Path, name: str) -> RunScalars:
    """Return the metrics of a run.

    Args:
        path: Directory of the run.
        name: Name that the run gets.

    Raises:
        ConfigError: The run has another format.
        DataError: A file of the run is damaged.
    """
    header = read_format_header(path)
    if header.format != FORMAT_VERSION:
        raise format_error(path, header)
    file = path / "run.json"
    record = read_json(file, RunRecord)
    events = list(iter_events(path))
    times = {event.step: event.time for event in events}
    scalars = tuple(
        scalar for metrics in iter_metrics(path) for scalar in scalars_of(metrics, times)
    )
    settings = {field: str(value) for field, value in msgspec.structs.asdict(record.config).items()}
    settings |= {"parameters": str(record.parameters), "text": record.text.digest.sha256}
    started = events[0].time if events else None
    return RunScalars(run=name, settings=settings, started=started, scalars=scalars)


def scalars_of(metrics: Metrics, times: dict[int, float]) -> list[Scalar]:
    """Return the numbers of a line of `metrics.jsonl`.

    Args:
        metrics: The line.
        times: Step -> seconds since the epoch, as far as they were recorded.
    """
    step, characters = metrics.step, metrics.characters
    if isinstance(metrics, StepMetrics):
        return [
            Scalar(tag, step, characters, getattr(metrics, name), times.get(step))
            for name, tag in STEP_TAGS.items()
        ]
    if isinstance(metrics, ValidationMetrics):
        return [Scalar(VALID_TAG, step, characters, metrics.valid_bits, times.get(step))]
    assert isinstance(metrics, BranchMetrics)
    if metrics.valid_bits is None:
        return []
    return [Scalar(BRANCH_TAG, step, characters, metrics.valid_bits, times.get(step))]
