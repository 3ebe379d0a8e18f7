"""Figure of a unit over a text: its state as a belt, and its gates beneath, as an SVG file.

Source: the state as a conveyor belt is a picture of Olah (2015), "Understanding LSTM networks".
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from charlm.console import escape_control_characters
from charlm.results.inspection import ActivationTrace, InspectionReport, UnitTrace

MAX_TOKENS = 96  # of the text, which fit on a page
MAX_UNITS = 3
TOKEN_WIDTH, MIN_WIDTH, LABEL_WIDTH = 0.125, 5.0, 2.3  # inches
BELT_HEIGHT, GATE_HEIGHT, TEXT_HEIGHT = 0.75, 0.26, 0.36  # inches
# Colors that can be read on white and on black.
INK, POSITIVE, NEGATIVE, GATE = "#7b7f86", "#2b83c6", "#d4691a", "#1d9470"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "belt",
    "text.parse_math": False,
    "font.family": "monospace",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
}
GLYPHS = {"\n": "↵", "\t": "→"}


def render_belt_svg(report: InspectionReport) -> bytes:
    """Return the figure of the first units of an inspection, on the beginning of its text."""
    tokens = report.tokens[:MAX_TOKENS]
    units = report.units[:MAX_UNITS]
    heights = [height for unit in units for height in _heights(unit)]
    width = max(MIN_WIDTH, LABEL_WIDTH + TOKEN_WIDTH * len(tokens))
    total = sum(heights) + 0.1
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(width, total))
        FigureCanvasSVG(canvas)
        canvas.patch.set_visible(False)
        left, span = LABEL_WIDTH / width, TOKEN_WIDTH * len(tokens) / width
        top = total - 0.05
        for unit in units:
            rows = [*_ordered(unit), None]
            for trace, height in zip(rows, _heights(unit), strict=True):
                top -= height
                box = (left, top / total, span, height / total)
                axes = canvas.add_axes(box, facecolor="none")
                if trace is None:
                    _write_tokens(axes, tokens)
                else:
                    _draw_trace(axes, trace, len(tokens), trace is rows[0], unit)
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        canvas.savefig(buffer, format="svg", metadata=no_metadata)
    return buffer.getvalue().encode()


def _ordered(unit: UnitTrace) -> list[ActivationTrace]:
    """Return the state, or else the output, then the others in their order."""
    state = next((trace for trace in unit.traces if trace.description == "state"), unit.traces[-1])
    return [state, *(trace for trace in unit.traces if trace is not state)]


def _heights(unit: UnitTrace) -> list[float]:
    """Return the height of each row of a unit, in inches, the text below it included."""
    return [BELT_HEIGHT, *[GATE_HEIGHT] * (len(unit.traces) - 1), TEXT_HEIGHT]


def _draw_trace(
    axes: Axes, trace: ActivationTrace, count: int, is_belt: bool, unit: UnitTrace
) -> None:
    """Draw a variable as one step per token; the belt is high, between two lines."""
    values = trace.values[:count]
    is_gate = trace.kind == "gate"
    scale = 1.0 if is_gate else max(map(abs, values), default=0.0) or 1.0
    edges = [place - 0.5 for place in range(len(values) + 1)]
    above, below = [max(v, 0.0) for v in values], [min(v, 0.0) for v in values]
    axes.stairs(above, edges, fill=True, color=GATE if is_gate else POSITIVE)
    axes.stairs(below, edges, fill=True, color=NEGATIVE)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim((-0.15 if is_gate else -1.15) * scale, 1.15 * scale)
    axes.axhline(0, color=INK, linewidth=0.6)
    for side in ("left", "right", "bottom", "top"):
        axes.spines[side].set_visible(is_belt and side in ("bottom", "top"))
    axes.set_xticks([])
    axes.set_yticks([])
    label = f"{trace.variable}  {trace.description.partition(':')[0]}"
    if is_belt:
        label = f"layer {unit.layer}, unit {unit.unit}\n{label}\nfrom {-scale:.2g} to {scale:.2g}"
    axes.text(-0.02, 0.5, label, transform=axes.transAxes, ha="right", va="center")


def _write_tokens(axes: Axes, tokens: Sequence[str]) -> None:
    """Write the text, one token under each bar."""
    axes.set_xlim(-0.5, len(tokens) - 0.5)
    axes.set_ylim(0, 1)
    axes.axis("off")
    for place, token in enumerate(tokens):
        glyph = GLYPHS.get(token, escape_control_characters(token))
        axes.text(place, 0.75, glyph[:1], ha="center", va="center")
