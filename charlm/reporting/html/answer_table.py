"""The table that answers a comparison, on its page, and the numbers of the figure below it."""

from typing import NamedTuple

from charlm.reporting.formatting import format_count, format_number
from charlm.reporting.memory_figure import shown_ngram
from charlm.reporting.wording.quantities import (
    NO_NUMBER,
    QUANTITIES,
    format_difference,
    format_difference_interval,
    format_interval,
    format_quantity,
    judged_quantity,
    measured_quantities,
    quantity_unit,
    verdict_word,
)
from charlm.results.comparison import ComparisonReport, EntryRow
from charlm.results.timing import TimingReport
from charlm.results.verdicts import JudgedQuantity, MemoryCurve


class JudgedCell(NamedTuple):
    """A number with its interval, and its difference to the reference with its own."""

    value: str
    interval: str
    difference: str
    difference_interval: str
    word: str


class AnswerTable(NamedTuple):
    """Heads and rows of the table."""

    groups: list[tuple[str, int]]  # title and number of columns
    heads: list[tuple[str, str]]  # title and unit of each judged quantity
    costs: list[str]  # heads of the columns of cost
    rows: list[tuple[str, list[JudgedCell], list[str]]]  # name, judged cells, costs


def make_answer_table(report: ComparisonReport, timing: TimingReport) -> AnswerTable:
    """Return the table, rows in the order of the report."""
    quantities = measured_quantities(report)
    costs = ["s/M", "state", "params"]
    groups = [("quality", 1), ("memory", len(quantities) - 1), ("cost", len(costs))]
    return AnswerTable(
        groups=[group for group in groups if group[1]],
        heads=[_head(report, quantity) for quantity in quantities],
        costs=costs,
        rows=[
            (
                row.name,
                [_judged_cell(report, row, quantity) for quantity in quantities],
                _cost_cells(row, timing),
            )
            for row in report.cells
        ],
    )


def _head(report: ComparisonReport, quantity: JudgedQuantity) -> tuple[str, str]:
    unit = quantity_unit(quantity, report.unit)
    return ("", unit) if quantity == "bits_per_char" else (QUANTITIES[quantity].title, unit)


def _judged_cell(report: ComparisonReport, row: EntryRow, quantity: JudgedQuantity) -> JudgedCell:
    measured = judged_quantity(row, quantity)
    if measured is None:
        return JudgedCell(NO_NUMBER, "", "", "", "")
    value = format_quantity(quantity, measured.value.mean)
    interval = format_interval(quantity, measured.ci_low, measured.ci_high)
    if row.name == report.statistics.reference or measured.verdict is None:
        return JudgedCell(value, interval, "", "", "")
    return JudgedCell(
        value,
        interval,
        format_difference(quantity, measured.verdict.difference),
        format_difference_interval(quantity, measured.verdict),
        verdict_word(quantity, measured.verdict),
    )


def _cost_cells(row: EntryRow, timing: TimingReport) -> list[str]:
    times = timing.cells.get(row.name)
    return [
        format_number(times.seconds_per_million if times else None),
        f"{row.state_size:,}",
        format_count(row.parameters),
    ]


def memory_table(report: ComparisonReport) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the numbers of the figure, in mbit."""
    curves = {row.name: row.memory.curve for row in report.cells if row.memory}
    heads, columns = ["k"], []
    rows: list[list[str]] = []
    for name, curve in curves.items():
        if curve:
            heads.append(name)
            columns.append(_curve_cells(curve))
            rows = rows or [[f"{k:,}"] for k in curve.k]
    ngram = shown_ngram(report)
    if ngram:
        heads.append("n-gram")
        columns.append([format_quantity("beyond_64", bits) for _, bits in ngram])
    for column in columns:
        for row, cell in zip(rows, column, strict=False):
            row.append(cell)
    return heads, rows


def _curve_cells(curve: MemoryCurve) -> list[str]:
    return [
        f"{format_quantity('beyond_64', mean)} {format_interval('beyond_64', low, high)}".rstrip()
        for mean, low, high in zip(curve.mean, curve.ci_low, curve.ci_high, strict=True)
    ]
