"""Reader of finished comparisons: reports, times and learning curves of a directory."""

from pathlib import Path

from charlm.comparison.directory import MARKER, REPORT_FILE, TIMING_FILE
from charlm.comparison.stored_reports import read_report, read_task_report
from charlm.errors import InputNotFoundError
from charlm.results.comparison import (
    ComparisonKind,
    ComparisonMarker,
    ComparisonReport,
    ComparisonResult,
    ValidationCurve,
)
from charlm.results.tasks import TaskComparisonResult
from charlm.results.timing import TimingReport
from charlm.runs.metrics import load_validation_curve
from charlm.storage.json_files import read_json, read_sealed_json
from charlm.storage.reading import MissingFileError, check_plain_directory

COMMANDS: dict[ComparisonKind, str] = {  # that made a comparison
    "text": "charlm compare-cells",
    "runs": "charlm compare-cells",
    "task": "charlm tasks compare",
}


def load_comparison(directory: str | Path) -> ComparisonResult | TaskComparisonResult:
    """Return a finished comparison.

    Args:
        directory: Directory of `charlm compare-cells --out` or `charlm tasks compare --out`.

    Returns:
        Its `report` and its `timing`. That of a comparison on a text also has learning curves,
        where its runs are still there.

    Raises:
        InputNotFoundError: There is no comparison, or it is not finished.
        DataError: A file is damaged, or of another format.
    """
    path = Path(directory)
    kind = _read_kind(path)
    if not (path / REPORT_FILE).exists():
        raise InputNotFoundError(
            f"cannot read {path}: the comparison is not finished. Try the {COMMANDS[kind]} that "
            "began it again: it continues"
        )
    if kind == "task":
        task_report = read_task_report(path)
        timing = read_sealed_json(path / TIMING_FILE, TimingReport)
        return TaskComparisonResult(report=task_report, timing=timing)
    report = read_report(path)
    timing = read_sealed_json(path / TIMING_FILE, TimingReport)
    return ComparisonResult(
        report=report, timing=timing, curves=_load_curves(path, report), samples={}
    )


def _read_kind(path: Path) -> ComparisonKind:
    """Return the kind of a comparison, according to its marker."""
    marker = path / MARKER
    if marker.exists():
        return read_json(marker, ComparisonMarker).kind
    if not path.is_dir():
        problem = "it is a file" if path.exists() else "there is no such directory"
    elif (path / "run.json").exists():
        raise InputNotFoundError(
            f"cannot read {path}: it is a run, not a comparison. Try charlm compare-cells with "
            "this run and others"
        )
    else:
        problem = "it has no comparison"
    raise InputNotFoundError(
        f"cannot read {path}: {problem}. Try the --out of charlm compare-cells"
    )


def _load_curves(path: Path, report: ComparisonReport) -> dict[str, tuple[ValidationCurve, ...]]:
    """Return the learning curves of each entry; empty ones of runs that are not in `path`."""
    return {
        row.name: tuple(_load_curve(path / "runs", name) for name in row.runs)
        for row in report.rows
    }


def _load_curve(runs: Path, name: str) -> ValidationCurve:
    for directory in (runs, runs / name):
        try:
            check_plain_directory(directory)
        except MissingFileError:
            return ()
    return load_validation_curve(runs / name)
