"""Figures of comparisons as files for a paper: SVG, PDF and PNG, on white."""

import io
import math
import re
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from charlm.reporting.figures import (
    COLOR_PLACEHOLDER,
    COLORS,
    FOREGROUND_PLACEHOLDER,
    STYLE,
    Figure,
    FigureSpec,
    make_legend,
)
from charlm.reporting.formatting import format_tick
from charlm.reporting.html.budget import budget_figures, learning_curves
from charlm.reporting.html.forest import forest_plots
from charlm.reporting.html.memory_profile import comparison_figure
from charlm.reporting.html.quality_plot import quality_plot
from charlm.reporting.html.tasks import task_figures
from charlm.reporting.line_labels import short_label
from charlm.reporting.memory_figure import (
    LINEAR_RANGE,
    MBIT,
    TICKS,
    MemoryLine,
    has_memory_figure,
    memory_lines,
)
from charlm.results.comparison import ComparisonReport, ComparisonResult
from charlm.results.tasks import TaskReport

PALETTE = ("#0069a8", "#c14f00", "#00795a", "#a8437f", "#8a6a00", "#5a50b5", "#4d4d4d")
INK = "#222222"
INCHES = 6.0, 3.6  # width and height
PNG_DPI = 200
KINDS = ("svg", "pdf", "png")
FILE_STYLE = {
    **STYLE,
    **{name: INK for name, value in STYLE.items() if value == FOREGROUND_PLACEHOLDER},
    "font.size": 11,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
}
TITLE_SIZE, TITLE_COLUMNS = 10, 76
PAINTED = ("color", "facecolor", "edgecolor")  # properties that have colors


def comparison_figures(result: ComparisonResult) -> list[Figure]:
    """Return memory, quality, differences, budget and learning curves, as far as they exist."""
    report = result.report
    legend = make_legend([row.name for row in report.cells])
    figures = [*_memory_figure(report), *quality_plot(report, legend)]
    if profile := comparison_figure(report):
        figures.append(profile)
    figures += [*forest_plots(report, legend), *budget_figures(report, legend)]
    if any(any(curves) for curves in result.curves.values()):
        figures += learning_curves(report, result.curves, legend)
    return figures


def task_report_figures(report: TaskReport) -> list[Figure]:
    """Return the figures of a comparison on a task."""
    return task_figures(report, make_legend([row.name for row in report.rows]))


def render_files(figure: Figure) -> dict[str, bytes]:
    """Return the figure as files: name -> content."""
    name = re.sub(r"[^a-z0-9]+", "-", figure.name.lower()).strip("-")
    spec = figure.spec
    with matplotlib.rc_context({**FILE_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=INCHES, layout="constrained", facecolor="white")
        axes = canvas.add_subplot()
        title = f"{spec.title}: {spec.y}" if spec.title else spec.y
        axes.set_title(fill(title, TITLE_COLUMNS), loc="left", fontsize=TITLE_SIZE)
        axes.set_xlabel(spec.x, fontsize=TITLE_SIZE)
        figure.paint(axes)
        _recolor(canvas)
        return {f"{name}.{kind}": _save(canvas, kind) for kind in KINDS}


def _save(canvas: Canvas, kind: str) -> bytes:
    """Return the bytes of a file, which do not depend on the time."""
    dates: dict[str, dict[str, None]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
        "png": {},
    }
    buffer = io.BytesIO()
    canvas.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=dates[kind])
    return buffer.getvalue()


def _recolor(canvas: Canvas) -> None:
    """Give everything that has the color of a placeholder a color of its own."""
    colors = {f"{COLOR_PLACEHOLDER}{number:02x}": PALETTE[number] for number in range(COLORS)}
    colors[FOREGROUND_PLACEHOLDER] = INK
    for artist in canvas.findobj():
        for name in PAINTED:
            getter, setter = (getattr(artist, f"{verb}_{name}", None) for verb in ("get", "set"))
            if getter is None or setter is None:
                continue
            painted = to_rgba_array(getter())
            color = colors.get(to_hex(painted[0])) if len(painted) == 1 else None
            if color:
                setter(color)


def _memory_figure(report: ComparisonReport) -> Iterator[Figure]:
    """Yield how far back each cell remembers, if any cell has a curve."""
    if not has_memory_figure(report):
        return
    legend = make_legend([row.name for row in report.cells])
    colors = [f"{COLOR_PLACEHOLDER}{entry.color:02x}" for entry in legend]
    lines = memory_lines(report, legend, colors, FOREGROUND_PLACEHOLDER)
    unit, noun = ("byte", "byte") if report.unit == "bits_per_byte" else ("char", "character")
    spec = FigureSpec(
        "",
        f"k, {noun}s of true context",
        f"mbit/{unit} lost when everything further back than k {noun}s is other text",
    )

    def paint(axes: Axes) -> None:
        for line in lines:
            _paint_memory_line(axes, line)
        axes.set_yscale("asinh", linear_width=LINEAR_RANGE)
        axes.set_xscale("log", base=2)
        ks = sorted({k for line in lines for k in line.k})
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low <= tick <= high]))
        axes.xaxis.set_major_locator(FixedLocator(ks))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))
        axes.grid(axis="y", alpha=0.15)
        axes.legend(frameon=False)

    yield Figure("memory", spec, paint, [], [])


def _paint_memory_line(axes: Axes, line: MemoryLine) -> None:
    """Draw the mean of a cell with its band, and its seeds as thin lines."""
    dash = tuple(float(part) for part in line.dash.split())
    style: dict[str, Any] = {"color": line.color, "linestyle": (0, dash) if dash else "-"}

    if line.low:
        low, high = _mbit(line.low), _mbit(line.high)
        axes.fill_between(line.k, low, high, color=line.color, alpha=0.15, linewidth=0)
    for seed in line.seeds:
        axes.plot(line.k, _mbit(seed), linewidth=0.7, alpha=0.5, **style)
    name = short_label(line.name)
    axes.plot(line.k, _mbit(line.mean), linewidth=2, marker="o", markersize=4, label=name, **style)


def _mbit(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value * MBIT for value in values]
