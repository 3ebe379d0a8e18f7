"""Long form of a comparison: one number per row, as CSV that pandas and R read as it is."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from charlm.reporting.tables.csv_text import csv_text
from charlm.reporting.wording.baselines import baseline_bits
from charlm.reporting.wording.quantities import QUANTITIES, judged_quantity
from charlm.results.comparison import ComparisonReport, EntryRow
from charlm.results.tasks import LevelSummary, TaskReport, TaskRow
from charlm.results.timing import TimingReport
from charlm.results.verdicts import Judged, JudgedQuantity, Verdict

UNITS: dict[JudgedQuantity, str] = {
    "bits_per_char": "bits/{unit}",
    "beyond_64": "bits/{unit}",
    "word_again": "bits",
    "order_reach": "characters",
}
COSTS = ("parameters", "hidden_size", "state_size", "flops_per_character")


class Record(NamedTuple):
    """A row of the long form; None is an empty cell."""

    kind: str  # mean, median, seed, difference, curve, profile, cost, baseline or survival
    quantity: str
    unit: str
    cell: str
    other: str = ""  # cell that it is compared with
    seed: int | None = None
    at: int | None = None  # characters of true context of a curve, or length of a task
    value: float | int | None = None
    ci_low: float | None = None  # 95 % confidence interval
    ci_high: float | None = None
    n: int | None = None  # seeds that the value is of
    p: float | None = None  # of no difference
    p_holm: float | None = None  # corrected by Holm
    p_tost_holm: float | None = None  # of a difference of at least the margin, corrected
    margin: float | None = None  # smallest relevant difference
    verdict: str = ""


def comparison_records(report: ComparisonReport, timing: TimingReport | None) -> Iterator[Record]:
    """Yield every number of a comparison on a text; differences of reaches are in octaves."""
    for row in report.rows:
        for quantity in QUANTITIES:
            if judged := judged_quantity(row, quantity):
                yield from _judged_records(report, row, quantity, judged)
        yield from _curve_records(report, row)
        yield from _profile_records(row)
    for pair in report.pairs:
        if report.statistics.reference not in (pair.cell, pair.other):
            yield _difference(report, pair.quantity, pair.cell, pair.other, pair.verdict)
    for row in report.rows:
        yield from _cost_records(row, timing)
    for item in report.baselines:
        if (bits := baseline_bits(item, report.unit)) is not None:
            unit = _unit(report, "bits_per_char")
            yield Record("baseline", "bits_per_char", unit, item.name, value=bits)


def _judged_records(
    report: ComparisonReport, row: EntryRow, quantity: JudgedQuantity, judged: Judged
) -> Iterator[Record]:
    unit, values = _unit(report, quantity), judged.value.per_seed
    count = sum(value is not None for value in values)
    yield Record(
        "mean",
        quantity,
        unit,
        row.name,
        value=judged.value.mean,
        ci_low=judged.ci_low,
        ci_high=judged.ci_high,
        n=count,
    )
    for seed, value in zip(row.seeds, values, strict=True):
        yield Record("seed", quantity, unit, row.name, seed=seed, value=value)
    if judged.verdict and judged.verdict.label != "reference":
        yield _difference(report, quantity, row.name, report.statistics.reference, judged.verdict)


def _difference(
    report: ComparisonReport, quantity: JudgedQuantity, cell: str, other: str, verdict: Verdict
) -> Record:
    rows = {row.name: row for row in report.rows}
    return Record(
        "difference",
        quantity,
        "octaves" if quantity == "order_reach" else _unit(report, quantity),
        cell,
        other,
        value=verdict.difference,
        ci_low=verdict.ci_low,
        ci_high=verdict.ci_high,
        n=_shared_seeds(rows[cell], rows[other], quantity),
        p=verdict.p,
        p_holm=verdict.p_holm,
        p_tost_holm=verdict.p_tost_holm,
        margin=report.statistics.margins[quantity],
        verdict=verdict.label,
    )


def _shared_seeds(row: EntryRow, other: EntryRow, quantity: JudgedQuantity) -> int:
    """Return the number of seeds in which both cells have a value."""
    own, its = judged_quantity(row, quantity), judged_quantity(other, quantity)
    if own is None or its is None:
        return 0
    values = dict(zip(other.seeds, its.value.per_seed, strict=True))
    return sum(
        value is not None and values.get(seed) is not None
        for seed, value in zip(row.seeds, own.value.per_seed, strict=True)
    )


def _curve_records(report: ComparisonReport, row: EntryRow) -> Iterator[Record]:
    curve = row.memory.curve if row.memory else None
    if curve is None:
        return
    unit = _unit(report, "beyond_64")
    for at, mean, low, high in zip(curve.k, curve.mean, curve.ci_low, curve.ci_high, strict=True):
        yield Record(
            "curve", "bits_lost_beyond", unit, row.name, at=at, value=mean, ci_low=low, ci_high=high
        )


def _profile_records(row: EntryRow) -> Iterator[Record]:
    """Yield each part of the memory profile with its chance and its ceiling."""
    for entry in row.profile.entries:
        quantity = entry.aspect.replace(" ", "_")
        yield Record(
            *("profile", quantity, entry.unit, row.name),
            value=entry.value,
            ci_low=entry.low,
            ci_high=entry.high,
        )
        for end, value in (("chance", entry.chance), ("ceiling", entry.ceiling)):
            yield Record("profile", f"{quantity}_{end}", entry.unit, row.name, value=value)


def _cost_records(row: EntryRow | TaskRow, timing: TimingReport | None) -> Iterator[Record]:
    for name in COSTS:
        yield Record("cost", name, "", row.name, value=getattr(row, name))
    yield Record("cost", "learning_rate", "", row.name, value=row.learning_rate)
    times = timing.cells.get(row.name) if timing else None
    if times and times.seconds_per_million is not None:
        seconds = times.seconds_per_million
        yield Record("cost", "seconds_per_million_characters", "s", row.name, value=seconds)
    if times and times.minutes is not None:
        yield Record("cost", "training_per_seed", "minutes", row.name, value=times.minutes)


def _unit(report: ComparisonReport, quantity: JudgedQuantity) -> str:
    return UNITS[quantity].format(unit="byte" if report.unit == "bits_per_byte" else "char")


def task_records(report: TaskReport, timing: TimingReport | None) -> Iterator[Record]:
    """Yield every number of a comparison on a task."""
    for row in report.rows:
        longest = row.max_solved_length
        yield Record(
            "median", "longest_solved", "length", row.name, value=longest, n=len(row.seeds)
        )
        for seed, length in zip(row.seeds, row.max_solved_length_per_seed, strict=True):
            yield Record("seed", "longest_solved", "length", row.name, seed=seed, value=length)
        for level in row.levels:
            yield from _level_records(row, level)
            for measure in report.measures:
                for seed, value in zip(row.seeds, level.measures[measure.name], strict=True):
                    if value is not None:
                        yield Record(
                            *("seed", measure.name, measure.unit, row.name),
                            seed=seed,
                            at=level.length,
                            value=value,
                        )
    for pair in report.pairs:
        yield Record(
            "difference",
            "survival",
            "",
            pair.cell,
            pair.other,
            at=pair.length,
            p=pair.p,
            p_holm=pair.p_holm,
        )
    for row in report.rows:
        yield from _cost_records(row, timing)
    for chance in report.chance:
        yield Record(
            "baseline", "accuracy", "share", "chance", at=chance.length, value=chance.accuracy
        )


def _level_records(row: TaskRow, level: LevelSummary) -> Iterator[Record]:
    yield Record(
        "survival",
        "survival",
        "share",
        row.name,
        at=level.length,
        value=level.num_survived / level.num_seeds,
        ci_low=level.ci_low,
        ci_high=level.ci_high,
        n=level.num_seeds,
    )
    measured = {"accuracy": level.accuracy, "steps": level.steps}
    measured |= {f"accuracy_at_{factor}x": each for factor, each in level.extrapolation.items()}
    for name, values in measured.items():
        for seed, value in zip(row.seeds, values, strict=True):
            if value is not None:
                unit = "" if name == "steps" else "share"
                yield Record("seed", name, unit, row.name, seed=seed, at=level.length, value=value)


def render_records(records: Iterable[Record]) -> str:
    """Return the records as CSV with a line of heads."""
    return csv_text(Record._fields, records)
