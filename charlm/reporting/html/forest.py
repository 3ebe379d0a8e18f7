"""How far each cell is from the baseline: a line for its interval, and the margin as a band."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from charlm.reporting.figures import (
    COLOR_PLACEHOLDER,
    FOREGROUND_PLACEHOLDER,
    Figure,
    FigureSpec,
    LegendEntry,
    render_svg,
)
from charlm.results.comparison import Report

FOREST_SPEC = FigureSpec(
    "Differences to the base",
    "bits more than the base; shaded: the margin",
    "in the order of the table, with 95 % intervals",
)


def forest_plot(rows: Sequence[Report], margin: float, looks: Sequence[LegendEntry]) -> Figure:
    """Of the rows that have an interval, the first at the top."""
    colors = {look.group: f"{COLOR_PLACEHOLDER}{look.color:02x}" for look in looks}

    def paint(axes: Any) -> None:
        axes.axvspan(-margin, margin, color=FOREGROUND_PLACEHOLDER, alpha=0.12, linewidth=0)
        axes.axvline(0, color=FOREGROUND_PLACEHOLDER, linewidth=1)
        for place, row in enumerate(rows):
            found, style = row["verdict"], {"color": colors[row["cell"]], "linewidth": 2}
            axes.plot([found["low"], found["high"]], [place, place], **style)
            axes.plot([found["difference"]], [place], marker="o", markersize=5, **style)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))

    told = ("difference", "low", "high", "p", "p_holm", "p_equivalent")
    return Figure(
        FOREST_SPEC,
        render_svg("forest", FOREST_SPEC, paint),
        ["cell", *(name.replace("_", " ") for name in told), "verdict"],
        [
            (
                row["cell"],
                *(f"{row['verdict'][name]:.4f}" for name in told),
                row["verdict"]["word"],
            )
            for row in rows
        ],
    )
