"""Forest plots: differences of each cell to the reference, with their confidence intervals."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from charlm.reporting.figures import (
    COLOR_PLACEHOLDER,
    FOREGROUND_PLACEHOLDER,
    Figure,
    FigureSpec,
    LegendEntry,
)
from charlm.reporting.formatting import format_fixed
from charlm.reporting.line_labels import short_label
from charlm.reporting.wording.quantities import (
    QUANTITIES,
    judged_quantity,
    measured_quantities,
    quantity_unit,
    verdict_word,
)
from charlm.results.comparison import ComparisonReport
from charlm.results.verdicts import JudgedQuantity, Verdict

HEADS = ["cell", "difference", "CI low", "CI high", "p", "p (Holm)", "p (TOST, Holm)", "verdict"]


def forest_plots(report: ComparisonReport, legend: Sequence[LegendEntry]) -> list[Figure]:
    """Draw the differences in each quantity that was judged."""
    plots = (forest_plot(report, quantity, legend) for quantity in measured_quantities(report))
    return [plot for plot in plots if plot]


def forest_plot(
    report: ComparisonReport, quantity: JudgedQuantity, legend: Sequence[LegendEntry]
) -> Figure | None:
    """Draw the rows that have an interval, the first at the top; None if no row has one."""
    measured = ((row.name, judged_quantity(row, quantity)) for row in report.cells)
    judged = [
        (name, each.verdict)
        for name, each in measured
        if each and each.verdict and _interval(each.verdict)
    ]
    if not judged:
        return None
    colors = {entry.group: f"{COLOR_PLACEHOLDER}{entry.color:02x}" for entry in legend}
    spec, factor = _spec(report, quantity), _factor(quantity)
    margin = report.statistics.margins[quantity] * factor

    def paint(axes: Axes) -> None:
        axes.axvspan(-margin, margin, color=FOREGROUND_PLACEHOLDER, alpha=0.12, linewidth=0)
        axes.axvline(0, color=FOREGROUND_PLACEHOLDER, linewidth=1)
        for height, (name, verdict) in enumerate(judged):
            style: dict[str, Any] = {"color": colors[name], "linewidth": 2}
            interval = _interval(verdict) or (math.nan,) * 3
            low, middle, high = (value * factor for value in interval)
            axes.plot([low, high], [height, height], **style)
            axes.plot([middle], [height], marker="o", markersize=5, **style)
        axes.set_ylim(len(judged) - 0.5, -0.5)
        axes.set_yticks(range(len(judged)), [short_label(name) for name, _ in judged])
        for label, (name, _) in zip(axes.get_yticklabels(), judged, strict=True):
            label.set_color(colors[name])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))

    cells = [
        (name, *_numbers(verdict, factor), verdict_word(quantity, verdict))
        for name, verdict in judged
    ]
    return Figure(f"forest-{quantity}", spec, paint, HEADS, cells)


def _spec(report: ComparisonReport, quantity: JudgedQuantity) -> FigureSpec:
    words, reference = QUANTITIES[quantity], report.statistics.reference
    title = "Quality" if quantity == "bits_per_char" else f"Memory, {words.title}"
    unit = quantity_unit(quantity, report.unit)
    if quantity == "order_reach":
        unit = "octaves"
    direction = "right is worse" if quantity == "bits_per_char" else "right is more"
    return FigureSpec(
        title,
        f"{unit} more than the reference; {direction}; shaded: the margin",
        f"difference to {reference}, with 95 % confidence interval",
    )


def _factor(quantity: JudgedQuantity) -> float:
    """Return the factor from the unit of a difference to that of the figure."""
    return QUANTITIES[quantity].factor


def _interval(verdict: Verdict) -> tuple[float, float, float] | None:
    """Return lower bound, difference and upper bound, if the verdict has them."""
    low, middle, high = verdict.ci_low, verdict.difference, verdict.ci_high
    if low is None or middle is None or high is None:
        return None
    return low, middle, high


def _numbers(verdict: Verdict, factor: float) -> list[str]:
    interval = (verdict.difference, verdict.ci_low, verdict.ci_high)
    scaled = [None if value is None else value * factor for value in interval]
    p_values = (verdict.p, verdict.p_holm, verdict.p_tost_holm)
    return [format_fixed(value) for value in (*scaled, *p_values)]
