"""The figure of a comparison: how far back each cell remembers.

It is written as SVG by hand, because names stand at their lines, and must not overlap.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from charlm.reporting.figures import LegendEntry, make_legend
from charlm.reporting.formatting import format_tick
from charlm.reporting.line_labels import short_label, spread_labels
from charlm.results.comparison import ComparisonReport

WIDTH, MIN_HEIGHT = 480, 320  # pixels
LEFT, RIGHT, TOP, BOTTOM = 48, 24, 46, 48  # margins around the plot
FONT_SIZE = 14
LETTER_WIDTH = 7.6  # of a name, at most, for most letters
LABEL_HEIGHT = 16  # distance of two names
TICKS = (-100, -50, -20, -10, -5, 0, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)  # mbit
TICK_DISTANCE = 22  # pixels, at least
MBIT = 1000  # per bit
LINEAR_RANGE = 10  # mbit up to which the scale of losses is almost linear

# Colors that can be read on white and on black: no page says which of them is behind an image.
NEUTRAL_LINES = ("#2b83c6", "#d4691a", "#1d9470", "#c2599b", "#a07d0c", "#7d74d8", "#808080")
NEUTRAL_TEXT = "#7b7f86"


class MemoryLine(NamedTuple):
    """A line of the figure: a cell, or the n-gram."""

    name: str
    color: str  # of CSS
    dash: str
    k: Sequence[int]
    mean: Sequence[float | None]  # bits, as all that follow
    seeds: Sequence[Sequence[float | None]] = ()
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


class _Scales(NamedTuple):
    """Pixels of a value."""

    x: Callable[[float], float]
    y: Callable[[float], float]


def has_memory_figure(report: ComparisonReport) -> bool:
    """Return whether any cell has a curve to draw."""
    return any(row.memory and row.memory.curve for row in report.cells)


def memory_svg(report: ComparisonReport, legend: Sequence[LegendEntry]) -> Markup:
    """Return the figure as an element of a page, in the colors of the page."""
    colors = [f"var(--line-{entry.color})" for entry in legend]
    return _draw(report, memory_lines(report, legend, colors, "var(--soft)"), "currentColor")


def render_memory_svg(report: ComparisonReport) -> bytes:
    """Return the figure as a file, readable on a light and on a dark page; b"" without curves."""
    if not has_memory_figure(report):
        return b""
    legend = make_legend([row.name for row in report.cells])
    colors = [NEUTRAL_LINES[entry.color] for entry in legend]
    svg = _draw(report, memory_lines(report, legend, colors, NEUTRAL_TEXT), NEUTRAL_TEXT)
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * 3 // 2}" '
        'font-family="system-ui, sans-serif" '
    )
    return (str(svg).replace("<svg ", start, 1) + "\n").encode()


def memory_lines(
    report: ComparisonReport, legend: Sequence[LegendEntry], colors: Sequence[str], grey: str
) -> list[MemoryLine]:
    """Return a line per cell that has a curve, and one of the n-gram."""
    style = {entry.group: (color, entry) for entry, color in zip(legend, colors, strict=True)}
    lines = []
    if ngram := shown_ngram(report):
        k, bits = zip(*ngram, strict=True)
        lines.append(MemoryLine("n-gram", grey, "5 3", k, bits))
    for row in report.cells:
        curve = row.memory.curve if row.memory else None
        if curve is not None:
            color, entry = style[row.name]
            lines.append(
                MemoryLine(
                    row.name,
                    color,
                    entry.dash,
                    curve.k,
                    curve.mean,
                    curve.per_seed,
                    curve.ci_low,
                    curve.ci_high,
                )
            )
    return lines


def shown_ngram(report: ComparisonReport) -> list[tuple[int, float]]:
    """Return what the n-gram loses at each k that cells are measured at: its rest is nearer."""
    curves = [row.memory.curve for row in report.cells if row.memory and row.memory.curve]
    measured = {k for curve in curves for k in curve.k}
    return [(k, bits) for k, bits in report.ngram_memory if k in measured]


def _draw(report: ComparisonReport, lines: Sequence[MemoryLine], ink: str) -> Markup:
    height = max(MIN_HEIGHT, TOP + BOTTOM + LABEL_HEIGHT * (len(lines) + 1))
    names = [short_label(line.name) for line in lines]
    left = LEFT + round(LETTER_WIDTH * max(map(len, names))) + 22
    scales = _scales(lines, left, height)
    labels = _label_heights(lines, scales, height)
    noun, unit = ("byte", "byte") if report.unit == "bits_per_byte" else ("character", "char")
    title = f"How far back each cell remembers: mbit/{unit} lost when everything further back"
    parts = [
        *_axes(lines, scales, height, labels, ink, noun),
        *_text(4, 14, f"mbit/{unit} lost when everything further back", ink, "start"),
        *_text(4, 32, f"than k {noun}s is other text", ink, "start"),
    ]
    for line in lines:
        parts += _line(line, scales)
    parts += _labels(lines, names, labels, scales, left)
    label = escape(f"{title} than k {noun}s is other text. The numbers are in report.json.")
    return Markup(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" '
        f'font-size="{FONT_SIZE}">{"".join(parts)}</svg>'
    )


def _scales(lines: Sequence[MemoryLine], left: int, height: int) -> _Scales:
    """Return a logarithmic scale of k, and one of bits on which large and small losses show."""
    values = [value * MBIT for line in lines for value in _all_values(line)]
    low, high = stretch(min([0.0, *values])), stretch(max([1.0, *values]))
    first, last = (math.log2(edge(k for line in lines for k in line.k)) for edge in (min, max))
    span = (last - first) or 1.0

    def x(k: float) -> float:
        return left + (WIDTH - RIGHT - left) * (math.log2(k) - first) / span

    def y(mbit: float) -> float:
        return height - BOTTOM - (height - TOP - BOTTOM) * (stretch(mbit) - low) / (high - low)

    return _Scales(x, y)


def stretch(mbit: float) -> float:
    """Return a scale that is linear around zero, and logarithmic far from it."""
    return math.asinh(mbit / LINEAR_RANGE)


def _all_values(line: MemoryLine) -> Iterator[float]:
    for values in (line.mean, line.low, line.high, *line.seeds):
        yield from (value for value in values if value is not None)


def _axes(
    lines: Sequence[MemoryLine],
    scales: _Scales,
    height: int,
    labels: Sequence[float],
    ink: str,
    noun: str,
) -> Iterator[str]:
    """Yield ticks and labels of both axes, and lines that do not cross the names at `labels`."""
    k = sorted({k for line in lines for k in line.k})
    left, right = scales.x(k[0]), scales.x(k[-1])
    shown: list[float] = []
    for tick in sorted(TICKS, key=lambda tick: (tick != 0, -abs(tick))):
        at = scales.y(tick)
        is_inside = TOP - 4 <= at <= height - BOTTOM + 1
        if is_inside and all(abs(at - other) >= TICK_DISTANCE for other in shown):
            shown.append(at)
            opacity = 0.6 if tick == 0 else 0.18
            is_free = all(abs(at - label) > LABEL_HEIGHT / 2 for label in labels)
            start = LEFT - 4 if is_free else left
            yield _path(f"M{start:.1f} {at:.1f}H{right:.1f}", ink, 1, opacity)
            yield from _text(LEFT - 9, at + 5, format_tick(tick), ink, "end")
    for value in k:
        at = scales.x(value)
        yield _path(f"M{at:.1f} {height - BOTTOM}v5", ink, 1, 0.6)
        yield from _text(at, height - BOTTOM + 20, f"{value:,}", ink, "middle")
    yield from _text((left + right) / 2, height - 8, f"k, {noun}s of true context", ink, "middle")


def _line(line: MemoryLine, scales: _Scales) -> Iterator[str]:
    """Yield the band of a line, its seeds, the line and its points."""
    band = [
        (scales.x(k), scales.y(low * MBIT), scales.y(high * MBIT))
        for k, low, high in zip(line.k, line.low, line.high, strict=False)
        if low is not None and high is not None
    ]
    if len(band) > 1:
        edge = [f"{x:.1f} {low:.1f}" for x, low, _ in band]
        edge += [f"{x:.1f} {high:.1f}" for x, _, high in reversed(band)]
        yield f'<path d="M{"L".join(edge)}Z" style="fill: {line.color}" opacity="0.12"/>'
    for seed in line.seeds:
        yield _path(_points_path(line.k, seed, scales), line.color, 0.9, 0.5, line.dash)
    yield _path(_points_path(line.k, line.mean, scales), line.color, 2.6, 1, line.dash)
    for k, mean in zip(line.k, line.mean, strict=True):
        if mean is not None:
            x, y = scales.x(k), scales.y(mean * MBIT)
            yield _path(f"M{x:.1f} {y:.1f}h.01", line.color, 7, 1, cap="round")


def _points_path(k: Sequence[int], values: Sequence[float | None], scales: _Scales) -> str:
    """Return the path through all values; a missing one leaves a gap."""
    path, is_drawing = "", False
    for each, value in zip(k, values, strict=True):
        if value is not None:
            path += f"{'L' if is_drawing else 'M'}{scales.x(each):.1f} {scales.y(value * MBIT):.1f}"
        is_drawing = value is not None
    return path or "M0 0"


def _label_heights(lines: Sequence[MemoryLine], scales: _Scales, height: int) -> list[float]:
    """Return where the name of each line stands: at its beginning, if there is room."""
    begins = [
        next((scales.y(mean * MBIT) for mean in line.mean if mean is not None), height - BOTTOM)
        for line in lines
    ]
    return spread_labels(begins, LABEL_HEIGHT, height - BOTTOM)


def _labels(
    lines: Sequence[MemoryLine],
    names: Sequence[str],
    labels: Sequence[float],
    scales: _Scales,
    left: int,
) -> Iterator[str]:
    """Yield the name of each line at its beginning, in its color."""
    for line, name, label in zip(lines, names, labels, strict=True):
        mean = next((mean for mean in line.mean if mean is not None), None)
        at = label if mean is None else scales.y(mean * MBIT)
        yield from _text(left - 20, label + 5, name, line.color, "end")
        yield _path(f"M{left - 17} {label:.1f}L{left - 5} {at:.1f}", line.color, 1, 0.7)


def _path(
    d: str, color: str, width: float, opacity: float, dash: str = "", cap: str = "butt"
) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{d}" fill="none" style="stroke: {color}" stroke-width="{width:g}" '
        f'stroke-linecap="{cap}" opacity="{opacity:g}"{dashes}/>'
    )


def _text(x: float, y: float, text: str, color: str, anchor: str) -> Iterator[str]:
    yield (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill: {color}">'
        f"{escape(text)}</text>"
    )
