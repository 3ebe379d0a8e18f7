"""The table of a comparison: quality, memory and cost, each number with interval and verdict."""

from collections.abc import Sequence

from rich.cells import cell_len

from charlm.console import escape_control_characters
from charlm.reporting.formatting import format_count
from charlm.reporting.wording.quantities import (
    NO_NUMBER,
    QUANTITIES,
    format_difference,
    format_difference_interval,
    format_interval,
    format_quantity,
    judged_quantity,
    measured_quantities,
    quantity_description,
    quantity_unit,
    verdict_word,
)
from charlm.results.comparison import ComparisonReport, EntryRow
from charlm.results.timing import TimingReport
from charlm.results.verdicts import JudgedQuantity

NAME_WIDTH = 20  # at most, so that a row fits into 80 columns
COST_HEADS = ("s/M", "state", "params", "hidden")


def answer_table(report: ComparisonReport, timing: TimingReport, width: int) -> list[str]:
    """Return the lines of the table: side by side if the width allows it, else stacked."""
    side_by_side = _side_by_side(report, timing)
    if max(map(cell_len, side_by_side)) <= width:
        return side_by_side
    return _stacked(report, timing)


def _stacked(report: ComparisonReport, timing: TimingReport) -> list[str]:
    names = [short_name(row.name) for row in report.cells]
    heads = ("", "mean", "95 % interval", f"to {short_name(report.statistics.reference)}")
    rows: list[Sequence[str]] = [(*heads, "95 % interval", "verdict")]
    titles: dict[int, str] = {}  # by the number of the row that follows
    for quantity in measured_quantities(report):
        group = "quality" if quantity == "bits_per_char" else _memory_title(quantity)
        unit = quantity_unit(quantity, report.unit)
        titles[len(rows)] = f"{group}: {unit} {quantity_description(quantity, report.unit)}"
        rows += [
            (f"  {name}", *_judged_cells(report, row, quantity))
            for name, row in zip(names, report.cells, strict=True)
        ]
    lines = align(rows, left={0, 5})
    cost = align(
        [("cost", *COST_HEADS)]
        + [
            (f"  {name}", *_cost_cells(row, timing))
            for name, row in zip(names, report.cells, strict=True)
        ],
        left={0},
    )
    table = []
    for number, line in enumerate(lines):
        table += [titles[number]] if number in titles else []
        table.append(line)
    return [*table, *cost]


def _memory_title(quantity: JudgedQuantity) -> str:
    return f"memory, {QUANTITIES[quantity].title}"


def _judged_cells(
    report: ComparisonReport, row: EntryRow, quantity: JudgedQuantity
) -> tuple[str, str, str, str, str]:
    """Return mean and interval, difference to the reference and interval, and verdict."""
    measured = judged_quantity(row, quantity)
    if measured is None:
        return NO_NUMBER, "", "", "", ""
    value = format_quantity(quantity, measured.value.mean)
    interval = format_interval(quantity, measured.ci_low, measured.ci_high)
    if row.name == report.statistics.reference:
        return value, interval, "reference", "", ""
    verdict = measured.verdict
    if verdict is None:
        return value, interval, NO_NUMBER, "", ""
    return (
        value,
        interval,
        format_difference(quantity, verdict.difference),
        format_difference_interval(quantity, verdict),
        verdict_word(quantity, verdict),
    )


def _cost_cells(row: EntryRow, timing: TimingReport) -> tuple[str, str, str, str]:
    times = timing.cells.get(row.name)
    seconds = times.seconds_per_million if times else None
    return (
        NO_NUMBER if seconds is None else f"{seconds:.3g}",
        f"{row.state_size:,}",
        format_count(row.parameters),
        f"{row.hidden_size:,}",
    )


def _side_by_side(report: ComparisonReport, timing: TimingReport) -> list[str]:
    """Return the three groups next to each other, each cell in two lines."""
    names = ["", ""]
    for row in report.cells:
        names += [short_name(row.name), ""]
    columns = [_pad(names)]
    for quantity in measured_quantities(report):
        group = {"bits_per_char": "quality", "beyond_64": "memory"}.get(quantity, "")
        unit = quantity_unit(quantity, report.unit)
        title = QUANTITIES[quantity].title
        lines = [group, unit if quantity == "bits_per_char" else f"{title}, {unit}"]
        for row in report.cells:
            value, interval, *difference = _judged_cells(report, row, quantity)
            lines += [f"{value} {interval}", " ".join(difference)]
        columns.append(_pad(lines))
    rows = [COST_HEADS, *(_cost_cells(row, timing) for row in report.cells)]
    cost = align([row[:-1] for row in rows], left=set())  # hidden sizes are in the other layout
    lines = ["cost", cost[0]]
    for line in cost[1:]:
        lines += [line, ""]
    columns.append(_pad(lines))
    joined = ["  ".join(parts).rstrip() for parts in zip(*columns, strict=True)]
    rule = "─" * max(map(cell_len, joined))
    return [*joined[:2], rule, *joined[2:]]


def align(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    """Return rows as lines with aligned columns; those in `left` are aligned to the left."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (text, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(text))
            cells.append(text + space if number in left else space + text)
        lines.append("  ".join(cells).rstrip())
    return lines


def _pad(lines: Sequence[str]) -> list[str]:
    """Return lines of equal width."""
    lines = [line.rstrip() for line in lines]
    width = max(map(cell_len, lines))
    return [line + " " * (width - cell_len(line)) for line in lines]


def short_name(name: str) -> str:
    """Return a name without control characters; the middle of a long one is left out."""
    name = escape_control_characters(name)
    half = NAME_WIDTH // 2
    return name if len(name) <= NAME_WIDTH else f"{name[: half - 1]}…{name[-half:]}"
