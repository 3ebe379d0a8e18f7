"""Figures of HTML pages: SVG drawn by matplotlib, in the colors and fonts of the page.

Names stand at the ends of their lines. All other text is around the figure, in the page.
"""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from charlm.console import escape_control_characters
from charlm.reporting.formatting import format_number, format_tick
from charlm.reporting.line_labels import LineLabel, write_labels

SIZE = 440, 260  # width and height in pixels
COLORS = 7  # colors of lines: the page's style defines them as --line-0 and so on
DASHES = ("", "6 2", "2 2")  # of the groups that use the colors for the first, second, third time
FOREGROUND_PLACEHOLDER = "#010101"  # stands for the page's color of text
COLOR_PLACEHOLDER = "#0102"  # with two digits more, for the page's color of that line
LOG_AXIS_RANGE = 1e12  # ratio of the largest to the smallest value on a logarithmic axis
MAX_POINTS_WITH_MARKERS = 24  # points of a line that get markers
MAX_OWN_TICKS = 8  # values on a logarithmic x axis that are its ticks
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 13,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-6, 6),
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(["text.color", "axes.edgecolor", "grid.color"], FOREGROUND_PLACEHOLDER),
    **dict.fromkeys(["xtick.color", "ytick.color"], FOREGROUND_PLACEHOLDER),
}


@dataclass(frozen=True)
class Series:
    """A line of a figure, such as that of a run; y is None where there is no value."""

    name: str
    group: str  # lines of a group share a color and a mean, as the runs of a cell
    x: Sequence[float]
    y: Sequence[float | None]
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None  # low, high
    value_labels: Sequence[str] | None = None  # of each y, for the table


class Reference(NamedTuple):
    """Line to compare with, such as chance or a baseline: grey and dotted, with its name."""

    name: str
    y: float | Sequence[float]  # at all x, or at each of them
    x: Sequence[float] = ()


class FigureSpec(NamedTuple):
    """Labels and axes of a figure."""

    title: str
    x: str  # label with unit, as y
    y: str
    log_x: bool = False
    log_y: bool = False
    references: Sequence[Reference] = ()
    connect_points: bool = True  # whether a line goes through the points and has its name
    y_range: tuple[float, float] | None = None  # default: that of the values


class LegendEntry(NamedTuple):
    """Color and dashes of a group."""

    group: str
    color: int
    dash: str


Painter = Callable[[Axes], None]


class Figure(NamedTuple):
    """A figure, and its numbers as a table."""

    name: str  # unique within its page
    spec: FigureSpec
    paint: Painter  # draws it on axes
    heads: list[str]
    rows: list[tuple[str, ...]]
    legend: Sequence[LegendEntry] = ()  # of this figure alone, where the page has none for all

    @property
    def svg(self) -> Markup:
        """The drawing as an SVG element of a page."""
        return render_svg(self.name, self.spec, self.paint)


def make_legend(groups: Sequence[str]) -> list[LegendEntry]:
    """Return a color and dashes for each group, in this order."""
    return [
        LegendEntry(group, number % COLORS, DASHES[number // COLORS % len(DASHES)])
        for number, group in enumerate(dict.fromkeys(groups))
    ]


def draw_figure(
    name: str, spec: FigureSpec, lines: Sequence[Series], legend: Sequence[LegendEntry]
) -> Figure:
    """Draw lines thin, and the mean of each group thick.

    Args:
        name: Name of the figure, unique within its page: ids of SVG elements derive from it.
        spec: Labels and axes.
        lines: Lines of all groups.
        legend: Color and dashes of each group.
    """

    def paint(axes: Axes) -> None:
        axes.grid(axis="y", alpha=0.15)
        labels = []
        for entry in legend:
            group = [line for line in lines if line.group == entry.group]
            labels += _draw_group(axes, entry, group, spec.connect_points)
        labels = [*labels, *(_draw_reference(axes, reference) for reference in spec.references)]
        xs = [x for line in lines for x in line.x]
        ys = [y for line in lines for y in line.y if y is not None]
        _set_scale(axes.set_xscale, axes.xaxis, spec.log_x, xs, are_powers_of_two(xs))
        _set_scale(axes.set_yscale, axes.yaxis, spec.log_y, ys)
        if spec.log_x and len(ticks := {x for x in xs if x > 0}) <= MAX_OWN_TICKS:
            axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
        if spec.log_y:
            axes.set_ylim(bottom=max(axes.get_ylim()[0], max(ys) / LOG_AXIS_RANGE))
        if spec.y_range:
            low, high = spec.y_range
            axes.set_ylim(low - (high - low) / 30, high + (high - low) / 30)
        write_labels(axes, [label for label in labels if label.y > 0 or not spec.log_y])

    return Figure(name, spec, paint, *_table(spec.x, lines))


def render_svg(name: str, spec: FigureSpec, paint: Painter) -> Markup:
    """Return the drawing that `paint` makes on the axes, as an SVG element of a page."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=(SIZE[0] / 72, SIZE[1] / 72), layout="constrained")
        FigureCanvasSVG(canvas)
        canvas.patch.set_visible(False)
        paint(canvas.add_subplot(facecolor="none"))
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        canvas.savefig(buffer, format="svg", metadata=no_metadata)
    return _inline(buffer.getvalue(), spec)


def _draw_reference(axes: Axes, reference: Reference) -> LineLabel:
    """Draw a reference, and return its name."""
    style: dict[str, Any] = {"color": FOREGROUND_PLACEHOLDER, "linewidth": 1.2}
    style |= {"linestyle": (0, (1, 2)), "alpha": 0.7}
    if isinstance(reference.y, float | int):
        axes.axhline(reference.y, **style)
        return LineLabel(reference.name, FOREGROUND_PLACEHOLDER, 1, reference.y)
    axes.plot(reference.x, reference.y, **style)
    return LineLabel(reference.name, FOREGROUND_PLACEHOLDER, reference.x[-1], reference.y[-1])


def _draw_group(
    axes: Axes, entry: LegendEntry, lines: Sequence[Series], connect_points: bool
) -> list[LineLabel]:
    """Draw the lines of a group, and return its name, at its last point, if they are connected."""
    drawn = [line for line in lines if any(y is not None for y in line.y)]
    if not drawn:
        return []
    style: dict[str, Any] = {"color": f"{COLOR_PLACEHOLDER}{entry.color:02x}"}
    if entry.dash:
        style["linestyle"] = (0, tuple(float(part) for part in entry.dash.split()))
    if len(drawn) == 1:
        (line,) = drawn
        x, y = line.x, [_or_nan(value) for value in line.y]
        if line.band is not None:
            low, high = ([_or_nan(value) for value in edge] for edge in line.band)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
    else:
        for line in drawn:
            axes.plot(line.x, [_or_nan(y) for y in line.y], linewidth=0.8, alpha=0.5, **style)
        x, y = mean_series(drawn)
    marker = "o" if len(x) <= MAX_POINTS_WITH_MARKERS or not connect_points else None
    width, size = (2, 3.5) if connect_points else (0, 6)
    axes.plot(x, y, linewidth=width, marker=marker, markersize=size, **style)
    ends = [(at, value) for at, value in zip(x, y, strict=True) if not math.isnan(value)]
    if not connect_points or not ends:
        return []
    return [LineLabel(entry.group, style["color"], *ends[-1])]


def mean_series(lines: Sequence[Series]) -> tuple[list[float], list[float]]:
    """Return the mean x and y of lines with corresponding points.

    A point that a line lacks has no mean; points beyond the shortest line are left out.
    """
    xs = [fmean(points) for points in zip(*(line.x for line in lines), strict=False)]
    ys = [
        math.nan if None in points else fmean(y for y in points if y is not None)
        for points in zip(*(line.y for line in lines), strict=False)
    ]
    return xs, ys


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def are_powers_of_two(values: Sequence[float]) -> bool:
    """Return whether there are three positive values or more, all of them powers of two."""
    positive = {value for value in values if value > 0}
    return len(positive) > 2 and all(math.log2(value).is_integer() for value in positive)


def _set_scale(
    set_scale: Callable[..., object],
    axis: Axis,
    is_log: bool,
    values: Sequence[float],
    powers_of_two: bool = False,
) -> None:
    """Set the scale and about five ticks; powers_of_two: where ticks of a log axis are."""
    positive = [value for value in values if value > 0]
    if is_log and positive:
        base = 2 if powers_of_two else 10
        is_narrow = max(positive) < 50 * min(positive)
        set_scale("log", base=base)
        subs = (1, 2, 5) if base == 10 and is_narrow else (1,)
        axis.set_major_locator(LogLocator(base, subs=subs, numticks=7))
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_minor_locator(NullLocator())
    if is_log or max(map(abs, values)) >= 10_000:  # else matplotlib writes all ticks alike
        axis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(_rounded(value))))


def _rounded(value: float) -> float:
    """Return a value to three digits; a whole number of up to four digits, as 1024, stays."""
    is_short = abs(value) < 10_000 and math.isclose(value, round(value), rel_tol=1e-9)
    return float(round(value)) if is_short else float(f"{value:.3g}")


def _inline(svg: str, spec: FigureSpec) -> Markup:
    """Return matplotlib's file as an element of a page, without ids that nothing refers to."""
    body = svg[svg.index("<g id=") : svg.rindex("</svg>")]
    used = set(re.findall(r"#([\w.]+)", body))
    body = re.sub(r' id="([\w.]+)"', lambda match: match[0] if match[1] in used else "", body)
    body = re.sub(r" font-family: [^;]+;", "", body)
    body = re.sub(
        rf"{COLOR_PLACEHOLDER}([0-9a-f]{{2}})",
        lambda match: f"var(--line-{int(match[1], 16)})",
        body,
    )
    body = body.replace(FOREGROUND_PLACEHOLDER, "currentColor")
    body = re.sub(r' transform="rotate\(-0 [^"]+"', "", body)
    body = re.sub(r"\s+", " ", body).replace("> <", "><")
    body = re.sub("<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)
    label = escape_control_characters(
        f"{spec.title} {spec.y}, against {spec.x}: numbers in the table below".strip()
    )
    start = Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">').format(label, *SIZE)
    return start + Markup(body + "</svg>")


def _table(x: str, lines: Sequence[Series]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return heads, and a row per x; lines with different x each have a column of their own."""
    shared = all(list(line.x) == list(lines[0].x) for line in lines)
    heads, columns = [], []
    if shared:
        heads.append(x)
        columns.append([format_number(value) for value in lines[0].x])
    for line in lines:
        if not shared:
            heads.append(f"{line.name}, at")
            columns.append([format_number(value) for value in line.x])
        heads.append(line.name)
        labels = line.value_labels or [format_number(y) for y in line.y]
        columns.append(list(labels))
    return heads, list(zip_longest(*columns, fillvalue=""))
