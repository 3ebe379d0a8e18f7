"""Reports of comparisons as they are read back: verified by their hash, and free of contradictions.

A report may come from a stranger. So what its readers rely on is checked here, once.
"""

from pathlib import Path

from charlm.comparison.directory import REPORT_FILE
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError
from charlm.results.comparison import ComparisonReport
from charlm.results.tasks import TaskReport
from charlm.results.verdicts import JudgedQuantity
from charlm.runs.listing import FormatHeader
from charlm.storage.json_files import decode_json, unseal_json
from charlm.storage.reading import read_regular_file

QUANTITIES: tuple[JudgedQuantity, ...] = ("bits_per_char", "beyond_64", "word_again", "order_reach")


def read_report(directory: Path) -> ComparisonReport:
    """Return the report of a comparison on a text or of existing runs.

    Raises:
        DataError: It is missing, damaged, of another format, or contradicts itself.
    """
    file = directory / REPORT_FILE
    report = decode_json(_read(file), ComparisonReport, file)
    _check(directory, contradiction(report))
    return report


def read_task_report(directory: Path) -> TaskReport:
    """Return the report of a comparison on a task, see `read_report`."""
    file = directory / REPORT_FILE
    report = decode_json(_read(file), TaskReport, file)
    _check(directory, task_contradiction(report))
    return report


def _read(file: Path) -> bytes:
    """Return the verified bytes of a report of this format."""
    data = read_regular_file(file)
    number = decode_json(data, FormatHeader, file).format
    if number != FORMAT_VERSION:
        raise DataError(
            f"cannot read {file.parent}: it has format {number}, this charlm reads format "
            f"{FORMAT_VERSION}. Compare again"
        )
    return unseal_json(data, file)


def _check(path: Path, problem: str) -> None:
    if problem:
        raise DataError(f"cannot read {path}: report.json is damaged: {problem}. Try a copy of it")


def contradiction(report: ComparisonReport) -> str:
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


def task_contradiction(report: TaskReport) -> str:
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
        for level in row.levels:
            values = (level.steps, level.accuracy, level.loss, *level.extrapolation.values())
            if {level.num_seeds, *map(len, values)} != {len(row.seeds)}:
                return f"{row.name} has not one result for each seed"
    return ""
