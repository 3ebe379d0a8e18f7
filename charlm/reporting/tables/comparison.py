"""Tables of a comparison on a text or of existing runs."""

from collections.abc import Sequence

from charlm.reporting.formatting import format_count, format_number
from charlm.reporting.tables.table import Group, Table
from charlm.reporting.wording.baselines import baseline_bits
from charlm.reporting.wording.machine import describe_machine
from charlm.reporting.wording.memory_profile import (
    WAY,
    comparison_profile,
    describe_profiled_tasks,
    entries_by_aspect,
    format_share,
    format_value,
)
from charlm.reporting.wording.quantities import (
    NO_NUMBER,
    QUANTITIES,
    find_verdict,
    format_difference,
    format_difference_interval,
    format_interval,
    format_quantity,
    judged_quantity,
    list_names,
    measured_quantities,
    quantity_description,
    quantity_unit,
    rank_cells,
    verdict_word,
)
from charlm.reporting.wording.rows import bits, format_error
from charlm.reporting.wording.verdicts import describe_statistics
from charlm.results.comparison import ComparisonReport, EntryRow
from charlm.results.timing import TimingReport
from charlm.results.verdicts import JudgedQuantity, Verdict

INTERVAL = "95 % interval"


def comparison_tables(report: ComparisonReport, timing: TimingReport | None) -> list[Table]:
    """Return the tables of a comparison that have rows: results, pairs, profile, cost, baselines.

    Args:
        report: Report of the comparison.
        timing: Its times; without them, the table of cost has none.
    """
    tables = [
        _results(report),
        _pairs(report),
        _profile(report),
        _cost(report, timing),
        _baselines(report),
    ]
    return [table for table in tables if table.groups]


def _results(report: ComparisonReport) -> Table:
    quantities = measured_quantities(report)
    reference = report.statistics.reference
    return Table(
        name="results",
        caption=f"{_describe_subject(report)} {describe_statistics(report)} "
        f"n: seeds with a result.{_describe_words(report)}",
        heads=("cell", "mean", INTERVAL, f"to {reference}", INTERVAL, "verdict", "n"),
        groups=[
            Group(
                _title(report, quantity),
                [_result_row(report, row, quantity) for row in report.cells],
            )
            for quantity in quantities
        ],
        text_columns=frozenset({0, 5}),
    )


def _describe_subject(report: ComparisonReport) -> str:
    names = list_names([row.name for row in report.cells])
    characters = report.matching.characters
    read = f" after {characters:,} characters of training" if characters else ""
    return f"{names} on {', '.join(report.corpus.sources)}{read}."


def _describe_words(report: ComparisonReport) -> str:
    """Return what the words and units of the table mean that do not explain themselves."""
    sentences = []
    memory = [name for name in measured_quantities(report) if name != "bits_per_char"]
    if memory:
        sentences.append("mbit: a thousandth of a bit.")
    if "order_reach" in memory:
        sentences.append("Differences of reaches are factors.")
    return f" {' '.join(sentences)}" if sentences else ""


def _title(report: ComparisonReport, quantity: JudgedQuantity) -> str:
    title = QUANTITIES[quantity].title
    name = "Quality" if quantity == "bits_per_char" else f"Memory, {title}"
    unit = quantity_unit(quantity, report.unit)
    return f"{name}: {unit} {quantity_description(quantity, report.unit)}"


def _result_row(
    report: ComparisonReport, row: EntryRow, quantity: JudgedQuantity
) -> tuple[str, ...]:
    measured = judged_quantity(row, quantity)
    if measured is None:
        return (row.name, NO_NUMBER, "", "", "", "", "0")
    count = sum(value is not None for value in measured.value.per_seed)
    value = format_quantity(quantity, measured.value.mean)
    interval = format_interval(quantity, measured.ci_low, measured.ci_high)
    if row.name == report.statistics.reference:
        return (row.name, value, interval, "", "", "reference", f"{count}")
    return (row.name, value, interval, *_difference(quantity, measured.verdict), f"{count}")


def _difference(quantity: JudgedQuantity, verdict: Verdict | None) -> tuple[str, str, str]:
    """Return a difference, its interval and its verdict."""
    if verdict is None:
        return NO_NUMBER, "", ""
    word = "diverged" if verdict.label == "diverged" else verdict_word(quantity, verdict)
    difference = format_difference(quantity, verdict.difference)
    return difference, format_difference_interval(quantity, verdict), word


def _pairs(report: ComparisonReport) -> Table:
    """Return the differences between cells of which neither is the reference."""
    rows = [row for name in measured_quantities(report) for row in _pair_rows(report, name)]
    return Table(
        name="pairs",
        caption="Differences between the cells that are not the reference: the first minus the "
        "second, by the same method.",
        heads=("quantity", "cell", "against", "difference", INTERVAL, "verdict"),
        groups=[Group("", rows)] if rows else [],
        text_columns=frozenset({0, 1, 2, 5}),
    )


def _pair_rows(report: ComparisonReport, quantity: JudgedQuantity) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    others = [
        row.name
        for row in rank_cells(report, "bits_per_char")
        if row.name != report.statistics.reference
    ]
    for number, name in enumerate(others):
        for other in others[number + 1 :]:
            verdict = find_verdict(report, quantity, name, other)
            if verdict is not None and verdict.ci_low is not None:
                title = QUANTITIES[quantity].title
                rows.append((title, name, other, *_difference(quantity, verdict)))
    return rows


def _profile(report: ComparisonReport) -> Table:
    """Return each part of the memory profile between chance and ceiling."""
    profile = comparison_profile(report)
    tasks = describe_profiled_tasks(report.profiled_tasks)
    return Table(
        name="profile",
        caption=" ".join([f"Memory profile. Share: of {WAY}.", *tasks]),
        heads=("cell", "share, %", "value", "chance", "ceiling"),
        groups=[
            Group(
                f"{aspect}: {next(iter(own.values())).unit}",
                [
                    (
                        name,
                        format_share(entry, has_interval=False),
                        format_value(entry),
                        format_number(entry.chance),
                        format_number(entry.ceiling),
                    )
                    for name, entry in own.items()
                ],
            )
            for aspect, own in entries_by_aspect(profile).items()
        ],
    )


def _cost(report: ComparisonReport, timing: TimingReport | None) -> Table:
    machine = describe_machine(report.environment)
    times = f" s/M: seconds of training per million characters, on {machine}." if timing else ""
    return Table(
        name="cost",
        caption="Cost. Error: how far a cell misses the matched budget. State: floats carried from "
        f"one character to the next. FLOPs: of the matrix products per character, forward.{times}",
        heads=(
            *("cell", "hidden", "params", "error", "state", "FLOPs", "rate", "batch"),
            *(("s/M",) if timing else ()),
        ),
        groups=[Group("", [_cost_row(row, timing) for row in report.cells])],
    )


def _cost_row(row: EntryRow, timing: TimingReport | None) -> tuple[str, ...]:
    cells = (
        row.name,
        f"{row.hidden_size:,}",
        f"{row.parameters:,}",
        format_error(row),
        f"{row.state_size:,}",
        format_count(row.flops_per_character),
        f"{row.learning_rate:.3g}",
        f"{row.batch_size}",
    )
    if timing is None:
        return cells
    times = timing.cells.get(row.name)
    seconds = times.seconds_per_million if times else None
    return (*cells, NO_NUMBER if seconds is None else format_number(float(f"{seconds:.3g}")))


def _baselines(report: ComparisonReport) -> Table:
    rows: list[Sequence[str]] = []
    for item in report.baselines:
        if (value := baseline_bits(item, report.unit)) is not None:
            rows.append((item.name, item.kind, f"{value:.3f}"))
    for row in report.rows:
        value = bits(row, report.unit).mean
        if row.role == "transformer" and value is not None:
            rows.append((row.name, "static", f"{value:.3f}"))
    return Table(
        name="baselines",
        caption=f"Baselines of the same {report.corpus.scored_split} split. Static: learnt from "
        "the training split alone. Adaptive: goes on learning from the split that is scored.",
        heads=("baseline", "kind", quantity_unit("bits_per_char", report.unit)),
        groups=[Group("", rows)] if rows else [],
        text_columns=frozenset({0, 1}),
    )
