"""Plot of quality: each cell with its interval, and the baselines of the same split as rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

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
from charlm.reporting.wording.baselines import baseline_bits
from charlm.reporting.wording.rows import short_unit
from charlm.results.comparison import ComparisonReport

MAX_RATIO = 1.5  # of a baseline to the worst cell: a weaker one would take all of the axis
HEADS = ["", "mean", "CI low", "CI high"]


class _Row(NamedTuple):
    """A row of the plot; a baseline has no interval."""

    name: str
    mean: float
    low: float | None
    high: float | None
    color: str


def quality_plot(report: ComparisonReport, legend: Sequence[LegendEntry]) -> list[Figure]:
    """Draw cells and baselines, the best at the top; nothing if all cells diverged."""
    colors = {entry.group: f"{COLOR_PLACEHOLDER}{entry.color:02x}" for entry in legend}
    rows = [
        _Row(row.name, mean, row.quality.ci_low, row.quality.ci_high, colors[row.name])
        for row in report.cells
        if (mean := row.quality.value.mean) is not None
    ]
    if not rows:
        return []
    limit = MAX_RATIO * max(row.mean for row in rows)
    rows += [
        _Row(item.name, bits, None, None, FOREGROUND_PLACEHOLDER)
        for item in report.baselines
        if (bits := baseline_bits(item, report.unit)) is not None and bits <= limit
    ]
    rows.sort(key=lambda row: row.mean)
    spec = FigureSpec(
        "",
        f"{short_unit(report.unit)}; left is better",
        f"score of the {report.corpus.scored_split} split, with 95 % confidence interval",
    )

    def paint(axes: Axes) -> None:
        axes.grid(axis="x", alpha=0.15)
        for height, row in enumerate(rows):
            style: dict[str, Any] = {"color": row.color, "linewidth": 2}
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [height, height], **style)
            marker = "|" if row.color == FOREGROUND_PLACEHOLDER else "o"
            axes.plot([row.mean], [height], marker=marker, markersize=7, **style)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [short_label(row.name) for row in rows])
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_color(row.color)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))

    numbers = [(row.name, *map(format_fixed, (row.mean, row.low, row.high))) for row in rows]
    return [Figure("quality", spec, paint, HEADS, numbers)]
