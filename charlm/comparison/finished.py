"""Reader of finished comparisons: reports, times and learning curves of a directory."""

from pathlib import Path

import msgspec

from charlm.comparison.directory import MARKER
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError, InputNotFoundError
from charlm.results.comparison import (
    ComparisonKind,
    ComparisonMarker,
    ComparisonReport,
    ComparisonResult,
    ValidationCurve,
)
from charlm.results.tasks import TaskComparisonResult, TaskReport
from charlm.results.timing import TimingReport
from charlm.results.verdicts import JudgedQuantity
from charlm.runs.listing import FormatHeader
from charlm.runs.metrics import load_validation_curve
from charlm.storage.json_files import decode_json, read_json
from charlm.storage.reading import read_regular_file

COMMANDS: dict[ComparisonKind, str] = {  # that made a comparison
    "text": "charlm compare-cells",
    "runs": "charlm compare-cells",
    "task": "charlm tasks compare",
}
QUANTITIES: tuple[JudgedQuantity, ...] = ("bits_per_char", "beyond_64", "word_again", "order_reach")


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
    file = path / "report.json"
    if not file.exists():
        raise InputNotFoundError(
            f"cannot read {path}: the comparison is not finished. Try the {COMMANDS[kind]} that "
            "began it again: it continues"
        )
    data = read_regular_file(file)
    number = decode_json(data, FormatHeader, file).format
    if number != FORMAT_VERSION:
        raise DataError(
            f"cannot read {path}: it has format {number}, this charlm reads format "
            f"{FORMAT_VERSION}. Compare again"
        )
    timing_file = path / "timing.json"
    timing = read_json(timing_file, TimingReport)
    if kind == "task":
        task_report = decode_json(data, TaskReport, file)
        _check(path, _task_problem(task_report))
        return TaskComparisonResult(report=task_report, timing=timing)
    report = decode_json(data, ComparisonReport, file)
    _check(path, _problem(report))
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


def _check(path: Path, problem: str) -> None:
    if problem:
        raise DataError(f"cannot read {path}: report.json is damaged: {problem}. Try a copy of it")


def _problem(report: ComparisonReport) -> str:
    """Return what contradicts itself in a report that has all its fields; "" if nothing does."""
    names = [row.name for row in report.cells]
    if report.statistics.reference not in names:
        return "the reference has no row"
    if len({row.name for row in report.rows}) < len(report.rows):
        return "two rows have the same name"
    if any({pair.cell, pair.other} - {*names} for pair in report.pairs):
        return "a pair names a cell that has no row"
    if {*QUANTITIES} - report.statistics.margins.keys():
        return "a quantity has no margin"
    for row in report.rows:
        memory = row.memory
        judged = [
            row.quality,
            *((memory.beyond_64, memory.word_again, memory.order_reach) if memory else ()),
        ]
        if any(each and len(each.value.per_seed) != len(row.seeds) for each in judged):
            return f"{row.name} has not one value for each seed"
        curve = memory.curve if memory else None
        if (
            curve
            and len({len(curve.k), len(curve.mean), len(curve.ci_low), len(curve.ci_high)}) > 1
        ):
            return f"{row.name} has not one value for each k"
    return ""


def _task_problem(report: TaskReport) -> str:
    """Return what contradicts itself in a report on a task; "" if nothing does."""
    if not report.rows:
        return "it has no rows"
    names = {row.name for row in report.rows}
    if any({pair.cell, pair.other} - names for pair in report.pairs):
        return "a pair names a cell that has no row"
    for row in report.rows:
        lengths = tuple(level.length for level in row.levels)
        if lengths != report.lengths or len(report.chance) != len(lengths):
            return f"{row.name} has not one level for each length"
        if len(row.max_solved_length_per_seed) != len(row.seeds) or not row.seeds:
            return f"{row.name} has not one length for each seed"
    return ""


def _load_curves(path: Path, report: ComparisonReport) -> dict[str, tuple[ValidationCurve, ...]]:
    """Return the learning curves of each entry; empty ones of runs that are not in `path`."""
    return {
        row.name: tuple(_load_curve(path / "runs", name) for name in row.runs)
        for row in report.rows
    }


def _load_curve(runs: Path, name: str) -> ValidationCurve:
    if Path(name).name != name or name in (".", ".."):
        return ()
    try:
        return load_validation_curve(runs / name)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read {runs / name}: its metrics are damaged: {error}. Try a copy of it"
        ) from error
