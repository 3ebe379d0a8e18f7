"""Figures for a page: SVG by matplotlib, in the page's own colours and letters.

No foreign text gets into a figure: what its axes are, and whose a line is, the page says around it.
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
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from charlm.console import escape_control_characters
from charlm.reporting.formatting import format_number, format_tick

SIZE = 380, 220  # in pixels of a page that shows it as large as it was drawn
COLORS = 7  # of lines: the style of the page has them as --line-0 and so on
DASHES = ("", "6 2", "2 2")  # of the first groups that have all these colours, the second, ...
FOREGROUND_PLACEHOLDER = "#010101"  # stands for the page's colour of text
COLOR_PLACEHOLDER = "#0102"  # with two digits more, for the page's colour of that line
LOG_AXIS_RANGE = 1e12  # times below the largest value: a logarithmic axis shows no more
MAX_POINTS_WITH_MARKERS = 24  # points of a line that are drawn as such
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 12,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-6, 6),
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(["text.color", "axes.edgecolor", "grid.color"], FOREGROUND_PLACEHOLDER),
    **dict.fromkeys(["xtick.color", "ytick.color"], FOREGROUND_PLACEHOLDER),
}


@dataclass(frozen=True)
class Series:
    """What is drawn of one run; y is None where there is nothing."""

    name: str
    group: str  # those who share a colour and a mean: the runs of one cell
    x: Sequence[float]
    y: Sequence[float | None]
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None  # low, high
    value_labels: Sequence[str] | None = None  # each y in words, for the table


class FigureSpec(NamedTuple):
    """What a figure shows, and how."""

    title: str
    x: str  # with units, as y
    y: str
    log_x: bool = False
    log_y: bool = False
    chance: float | None = None  # on the y axis
    connect_points: bool = True  # whether a line goes through the points


class LegendEntry(NamedTuple):
    """How the lines of a group look."""

    group: str
    color: int
    dash: str


class Figure(NamedTuple):
    """A figure, and its numbers for who cannot see it or wants to have them."""

    plan: FigureSpec
    svg: Markup
    heads: list[str]
    rows: list[tuple[str, ...]]
    key: Sequence[LegendEntry] = ()  # of its own, where the page has not one for all


def make_legend(groups: Sequence[str]) -> list[LegendEntry]:
    """A look for each group, in this order."""
    return [
        LegendEntry(group, number % COLORS, DASHES[number // COLORS % len(DASHES)])
        for number, group in enumerate(dict.fromkeys(groups))
    ]


def draw_figure(
    name: str, plan: FigureSpec, lines: Sequence[Series], looks: Sequence[LegendEntry]
) -> Figure:
    """Runs thin, the mean of their group thick; `name` is the figure's alone within its page."""

    def paint(axes: Any) -> None:
        axes.grid(axis="y", alpha=0.15)
        for look in looks:
            group = [line for line in lines if line.group == look.group]
            _draw_family(axes, look, group, plan.connect_points)
        xs = [x for line in lines for x in line.x]
        ys = [y for line in lines for y in line.y if y is not None]
        if plan.chance is not None:
            ys.append(plan.chance)
            axes.axhline(
                plan.chance, color=FOREGROUND_PLACEHOLDER, linewidth=1, linestyle=(0, (1, 2))
            )
        _scale(axes.set_xscale, axes.xaxis, plan.log_x, xs, powers_of_two(xs))
        _scale(axes.set_yscale, axes.yaxis, plan.log_y, ys)
        if plan.log_y:
            axes.set_ylim(bottom=max(axes.get_ylim()[0], max(ys) / LOG_AXIS_RANGE))

    return Figure(plan, render_svg(name, plan, paint), *_table(plan.x, lines))


def render_svg(name: str, plan: FigureSpec, paint: Callable[[Any], None]) -> Markup:
    """What is painted on these axes, as an element of a page."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=(SIZE[0] / 72, SIZE[1] / 72), layout="constrained")
        FigureCanvasSVG(canvas)
        canvas.patch.set_visible(False)
        paint(canvas.add_subplot(facecolor="none"))
        buffer = io.StringIO()
        unsaid = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        canvas.savefig(buffer, format="svg", metadata=unsaid)
    return _inline(buffer.getvalue(), plan)


def _draw_family(axes: Any, look: LegendEntry, lines: Sequence[Series], joined: bool) -> None:
    drawn = [line for line in lines if any(y is not None for y in line.y)]
    if not drawn:
        return
    style: dict[str, Any] = {"color": f"{COLOR_PLACEHOLDER}{look.color:02x}"}
    if look.dash:
        style["linestyle"] = (0, tuple(float(part) for part in look.dash.split()))
    if len(drawn) == 1:
        (line,) = drawn
        x, y = line.x, [_or_nan(one) for one in line.y]
        if line.band is not None:
            low, high = ([_or_nan(one) for one in edge] for edge in line.band)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
    else:
        for line in drawn:
            axes.plot(line.x, [_or_nan(y) for y in line.y], linewidth=0.8, alpha=0.5, **style)
        x, y = mean_series(drawn)
    marker = "o" if len(x) <= MAX_POINTS_WITH_MARKERS or not joined else None
    width, size = (2, 3.5) if joined else (0, 6)
    axes.plot(x, y, linewidth=width, marker=marker, markersize=size, **style)


def mean_series(lines: Sequence[Series]) -> tuple[list[float], list[float]]:
    """Of lines whose points belong together one by one; a point that one lacks has no mean."""
    xs = [fmean(together) for together in zip(*(line.x for line in lines), strict=False)]
    ys = [
        math.nan if None in together else fmean(together)
        for together in zip(*(line.y for line in lines), strict=False)
    ]
    return xs, ys


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def powers_of_two(values: Sequence[float]) -> bool:
    """Whether all are such, and there are some."""
    positive = {value for value in values if value > 0}
    return len(positive) > 2 and all(math.log2(value).is_integer() for value in positive)


def _scale(
    set_scale: Any, axis: Any, log: bool, values: Sequence[float], two: bool = False
) -> None:
    """Some five marks; at powers of two if so told."""
    positive = [value for value in values if value > 0]
    if log and positive:
        base = 2 if two else 10
        narrow = max(positive) < 50 * min(positive)
        set_scale("log", base=base)
        subs = (1, 2, 5) if base == 10 and narrow else (1,)
        axis.set_major_locator(LogLocator(base, subs=subs, numticks=7))
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_minor_locator(NullLocator())
    if log or max(map(abs, values)) >= 10_000:  # else they are written by matplotlib, all alike
        axis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))


def _inline(svg: str, plan: FigureSpec) -> Markup:
    """matplotlib's file as an element of a page, which says what it is; unused ids go."""
    body = svg[svg.index("<g id=") : svg.rindex("</svg>")]
    used = set(re.findall(r"#([\w.]+)", body))
    body = re.sub(r' id="([\w.]+)"', lambda one: one[0] if one[1] in used else "", body)
    body = re.sub(r" font-group: [^;]+;", "", body)
    body = re.sub(
        rf"{COLOR_PLACEHOLDER}([0-9a-f]{{2}})", lambda one: f"var(--line-{int(one[1], 16)})", body
    )
    body = re.sub(
        r' transform="rotate\(-0 [^"]+"', "", body.replace(FOREGROUND_PLACEHOLDER, "currentColor")
    )
    body = re.sub(r"\s+", " ", body).replace("> <", "><")
    body = re.sub("<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)
    said = escape_control_characters(
        f"{plan.title} {plan.y}, against {plan.x}: numbers in the table below".strip()
    )
    start = Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">').format(said, *SIZE)
    return start + Markup(body + "</svg>")


def _table(x: str, lines: Sequence[Series]) -> tuple[list[str], list[tuple[str, ...]]]:
    """A row for each x; where lines differ in theirs, each brings its own."""
    shared = all(list(line.x) == list(lines[0].x) for line in lines)
    heads, columns = (
        [x] if shared else [],
        [[format_number(x) for x in lines[0].x]] if shared else [],
    )
    for line in lines:
        if not shared:
            heads.append(f"{line.name}, at")
            columns.append([format_number(x) for x in line.x])
        heads.append(line.name)
        columns.append(
            list(line.value_labels) if line.value_labels else [format_number(y) for y in line.y]
        )
    return heads, list(zip_longest(*columns, fillvalue=""))
