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
from charlm.reporting.formatting import VISIBLE_SPACE
from charlm.results.inspection import ActivationTrace, InspectionReport, UnitTrace

MAX_TOKENS = 96  # of the text
TOKENS_PER_ROW = 32  # side by side; a figure of this width can be read on a telephone
MAX_UNITS = 3
TOKEN_WIDTH, LABEL_WIDTH = 0.125, 1.55  # inches
BELT_HEIGHT, GATE_HEIGHT, TEXT_HEIGHT, TITLE_HEIGHT = 0.6, 0.24, 0.34, 0.3  # inches
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


def render_belt_svg(report: InspectionReport) -> bytes:
    """Return the figure of the first units of an inspection, on the beginning of its text."""
    tokens = report.tokens[:MAX_TOKENS]
    units = report.units[:MAX_UNITS]
    parts = [
        slice(start, min(start + TOKENS_PER_ROW, len(tokens)))
        for start in range(0, len(tokens), TOKENS_PER_ROW)
    ]
    width = LABEL_WIDTH + TOKEN_WIDTH * TOKENS_PER_ROW
    total = sum(TITLE_HEIGHT + len(parts) * sum(_heights(unit)) for unit in units) + 0.1
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(width, total))
        FigureCanvasSVG(canvas)
        canvas.patch.set_visible(False)
        top = total - 0.05
        for unit in units:
            traces = _ordered(unit)
            top -= TITLE_HEIGHT
            _write_title(canvas, unit, traces[0], (top + 0.08) / total)
            for part in parts:
                span = TOKEN_WIDTH * (part.stop - part.start) / width
                for trace, height in zip([*traces, None], _heights(unit), strict=True):
                    top -= height
                    box = (LABEL_WIDTH / width, top / total, span, height / total)
                    axes = canvas.add_axes(box, facecolor="none")
                    if trace is None:
                        _write_tokens(axes, tokens[part])
                    else:
                        _draw_trace(axes, trace, part, trace is traces[0])
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


def _scale(trace: ActivationTrace) -> float:
    """Return the value that fills a row: 1 of a gate, else the largest absolute value."""
    if trace.kind == "gate":
        return 1.0
    return max(map(abs, trace.values[:MAX_TOKENS]), default=0.0) or 1.0


def _write_title(canvas: Figure, unit: UnitTrace, state: ActivationTrace, height: float) -> None:
    """Write the name of a unit, and the range of its state."""
    scale = _scale(state)
    title = (
        f"layer {unit.layer}, unit {unit.unit}: {state.variable} from {-scale:.2g} to {scale:.2g}"
    )
    canvas.text(LABEL_WIDTH / canvas.get_figwidth(), height, title, va="bottom")


def _draw_trace(axes: Axes, trace: ActivationTrace, part: slice, is_belt: bool) -> None:
    """Draw a part of a variable as one step per token; the belt is high, between two lines."""
    values, is_gate, scale = trace.values[part], trace.kind == "gate", _scale(trace)
    edges = [place - 0.5 for place in range(len(values) + 1)]
    above, below = [max(v, 0.0) for v in values], [min(v, 0.0) for v in values]
    axes.stairs(above, edges, fill=True, color=GATE if is_gate else POSITIVE)
    axes.stairs(below, edges, fill=True, color=NEGATIVE)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_ylim((-0.15 if is_gate else -1.15) * scale, 1.15 * scale)
    axes.axhline(0, color=INK, linewidth=0.6)
    for side in ("left", "right", "bottom", "top"):
        axes.spines[side].set_visible(is_belt and side in ("bottom", "top"))
    axes.set_xticks([])
    axes.set_yticks([])
    # The distance of the label is that of a letter, whatever the number of tokens.
    axes.annotate(
        f"{trace.variable} {trace.description.partition(':')[0]}",
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        va="center",
    )


def _write_tokens(axes: Axes, tokens: Sequence[str]) -> None:
    """Write the text, one token under each bar."""
    axes.set_xlim(-0.5, len(tokens) - 0.5)
    axes.set_ylim(0, 1)
    axes.axis("off")
    for place, token in enumerate(tokens):
        glyph = VISIBLE_SPACE.get(token, escape_control_characters(token))
        axes.text(place, 0.75, glyph[:1], ha="center", va="center")
