"""Reports of comparisons as they are read back: verified by their hash, and free of contradictions.

A report may come from a stranger. So what its readers rely on is checked here, once.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec.structs import asdict

from charlm.comparison.directory import REPORT_FILE
from charlm.config import FORMAT_VERSION, Config
from charlm.errors import DataError
from charlm.results.comparison import ComparisonReport
from charlm.results.tasks import TaskReport
from charlm.results.tuning import TuningReport
from charlm.results.values import RecordedSetting
from charlm.results.verdicts import JudgedQuantity, MemoryCurve
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
        raise DataError(
            f"cannot read {path}: report.json is damaged: {problem}. Restore it from a backup"
        )


def contradiction(report: ComparisonReport) -> str:
    """Return what contradicts itself in a report that has all its fields; "" if nothing does."""
    names = [row.name for row in report.cells]
    if report.statistics.reference not in names:
        return "the reference has no row"
    if len({row.name for row in report.rows}) < len(report.rows):
        return "two rows have the same name"
    if any({pair.cell, pair.other} - {*names} for pair in report.pairs):
        return "a pair names a cell that has no row"
    differing = (report.differing_settings or {}).items()
    each = ((name, value) for name, values in differing for value in values.values())
    if problem := _settings_contradiction([*report.settings.items(), *each]):
        return problem
    if {*QUANTITIES} - report.statistics.margins.keys():
        return "a quantity has no margin"
    brackets = report.budget.bracket if report.budget else ()
    if len({tuple(point.factor for point in bracket.points) for bracket in brackets}) > 1:
        return "two cells were tried at other multiples of their learning rates"
    if report.tuning and (problem := _tuning_contradiction(report.tuning)):
        return problem
    for row in report.rows:
        memory, seeds = row.memory, len(row.seeds)
        if not seeds or len(row.runs) != seeds:
            return f"{row.name} has not one run for each seed"
        judged = [
            row.quality,
            *((memory.beyond_64, memory.word_again, memory.order_reach) if memory else ()),
        ]
        summaries = [row.bits_per_char, row.bits_per_byte, *(each.value for each in judged if each)]
        if any(len(summary.per_seed) != seeds for summary in summaries):
            return f"{row.name} has not one value for each seed"
        if any(
            entry and entry.aspect.replace(" ", "_") != field
            for field, entry in asdict(row.profile).items()
        ):
            return f"{row.name} has a part of its memory profile in the place of another"
        curve = memory.curve if memory else None
        if curve and not _is_whole(curve, seeds):
            return f"{row.name} has not one value for each k"
    return ""


def _settings_contradiction(settings: Iterable[tuple[str, RecordedSetting]]) -> str:
    """Return which setting of a run has no value of its type; "" if none."""
    types = get_type_hints(Config, include_extras=True)
    for name, value in settings:
        try:
            msgspec.convert(value, types.get(name, Any))
        except msgspec.ValidationError:
            return f"{name} cannot be {value!r}"
    return ""


def _is_whole(curve: MemoryCurve, seeds: int) -> bool:
    """Return whether a curve of so many seeds has all its values."""
    values = (curve.mean, curve.ci_low, curve.ci_high, *curve.per_seed)
    has_all = {len(curve.k)} == {*map(len, values)} and len(curve.per_seed) == seeds
    return has_all and min(curve.k, default=0) > 0


def _tuning_contradiction(tuning: TuningReport) -> str:
    """Return what contradicts itself in a report of a search; "" if nothing does."""
    search, seeds = tuning.search, [seed for cell in tuning.cells.values() for seed in cell.seeds]
    rates = search.space.get("learning_rate")
    if rates is not None and [*map(type, rates)] != [float, float]:
        return "its range of learning rates has not two ends"
    if rates is None and any(seed.at_boundary for seed in seeds):
        return "a learning rate is at the end of no range"
    if not search.rungs or not tuning.cells:
        return "its search has no trials"
    for name, cell in tuning.cells.items():
        if not cell.seeds:
            return f"the search of {name} has no seeds"
        if any(len(trial.bits) > len(search.rungs) for s in cell.seeds for trial in s.trials):
            return f"the search of {name} has more results than rungs"
    return ""


def task_contradiction(report: TaskReport) -> str:
    """Return what contradicts itself in a report on a task; "" if nothing does."""
    if not report.rows or not report.lengths:
        return "it has no rows"
    if problem := _settings_contradiction(report.settings.items()):
        return problem
    names = {row.name for row in report.rows}
    if any({pair.cell, pair.other} - names for pair in report.pairs):
        return "a pair names a cell that has no row"
    if {pair.length for pair in report.pairs} - {*report.lengths}:
        return "a pair names a length that was not tried"
    factors = report.rows[0].levels[0].extrapolation.keys() if report.rows[0].levels else set()
    measures = {measure.name for measure in report.measures}
    for row in report.rows:
        lengths = tuple(level.length for level in row.levels)
        if lengths != report.lengths or len(report.chance) != len(lengths):
            return f"{row.name} has not one level for each length"
        if len(row.max_solved_length_per_seed) != len(row.seeds) or not row.seeds:
            return f"{row.name} has not one length for each seed"
        for level in row.levels:
            if level.extrapolation.keys() != factors or level.measures.keys() != measures:
                return f"{row.name} has not the same tests at each length"
            values = [level.steps, level.accuracy, level.loss, *level.extrapolation.values()]
            values += level.measures.values()
            for position in level.by_position:
                values += position.accuracy, position.excess_loss
            if {level.num_seeds, *map(len, values)} != {len(row.seeds)}:
                return f"{row.name} has not one result for each seed"
    return ""
