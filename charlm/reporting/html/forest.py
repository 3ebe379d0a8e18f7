"""Forest plot: difference of each cell to the reference, with its confidence interval."""

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
    render_svg,
)
from charlm.reporting.formatting import format_fixed
from charlm.results.comparison import EntryRow, Verdict

FOREST_SPEC = FigureSpec(
    "Differences to the reference",
    "bits more than the reference; shaded: the margin",
    "in the order of the table, with 95 % confidence intervals",
)
HEADS = ["cell", "difference", "CI low", "CI high", "p", "p (Holm)", "p (TOST, Holm)", "verdict"]


def forest_plot(
    rows: Sequence[EntryRow], margin: float, legend: Sequence[LegendEntry]
) -> list[Figure]:
    """Draw the rows that have an interval, the first at the top; none if no row has one."""
    judged = [(row, row.verdict) for row in rows if row.verdict and _interval(row.verdict)]
    if not judged:
        return []
    colors = {entry.group: f"{COLOR_PLACEHOLDER}{entry.color:02x}" for entry in legend}

    def paint(axes: Axes) -> None:
        axes.axvspan(-margin, margin, color=FOREGROUND_PLACEHOLDER, alpha=0.12, linewidth=0)
        axes.axvline(0, color=FOREGROUND_PLACEHOLDER, linewidth=1)
        for height, (row, verdict) in enumerate(judged):
            style: dict[str, Any] = {"color": colors[row.name], "linewidth": 2}
            low, middle, high = _interval(verdict) or (math.nan,) * 3
            axes.plot([low, high], [height, height], **style)
            axes.plot([middle], [height], marker="o", markersize=5, **style)
        axes.set_ylim(len(judged) - 0.5, -0.5)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))

    cells = [(row.name, *_numbers(verdict), verdict.label) for row, verdict in judged]
    return [Figure(FOREST_SPEC, render_svg("forest", FOREST_SPEC, paint), HEADS, cells)]


def _interval(verdict: Verdict) -> tuple[float, float, float] | None:
    """Return lower bound, difference and upper bound, if the verdict has them."""
    low, middle, high = verdict.ci_low, verdict.difference, verdict.ci_high
    if low is None or middle is None or high is None:
        return None
    return low, middle, high


def _numbers(verdict: Verdict) -> list[str]:
    interval = (verdict.difference, verdict.ci_low, verdict.ci_high)
    p_values = (verdict.p, verdict.p_holm, verdict.p_tost_holm)
    return [format_fixed(value) for value in (*interval, *p_values)]
