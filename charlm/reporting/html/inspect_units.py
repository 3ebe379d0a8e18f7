"""Units on the page of an inspected run: the state as a curve, its gates beneath."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from charlm.console import escape_control_characters
from charlm.reporting.formatting import VISIBLE_SPACE
from charlm.reporting.wording.inspection import describe_feature_unit
from charlm.reporting.wording.text import describe_retention
from charlm.results.inspection import (
    ActivationTrace,
    FeatureUnit,
    InspectedModel,
    LayerEquations,
    UnitTrace,
)

WIDTH = 32  # tokens of a block, which fit side by side on a telephone
SHADES = 10
MAX_SHADED_BITS = 8.0  # bits from which on the shade is the strongest
SHOWN_BLOCKS = 4  # of a unit; those that follow are folded away
GLYPHS = {**VISIBLE_SPACE, " ": "\xa0"}


class TokenView(NamedTuple):
    """A token as it is shown."""

    glyph: str
    shade: str  # class of the page's style
    note: str  # its cost or its values, in words
    ends_line: bool


class Row(NamedTuple):
    """A variable of a unit under a block of tokens."""

    variable: str
    description: str
    equation: str  # id of its equation on the page; "" if there is none
    is_gate: bool
    above: str  # path of the values above 0; the height of the row is 1
    below: str


class Block(NamedTuple):
    """Tokens side by side: the state above them, the other variables beneath."""

    tokens: Sequence[TokenView]
    state: Row
    rows: list[Row]


class UnitView(NamedTuple):
    """A unit as it is shown."""

    title: str
    captions: list[str]
    scales: list[tuple[str, str]]  # signed variables and the largest absolute value of each
    blocks: list[Block]


class EquationLine(NamedTuple):
    """A line of a cell's equations, or a paragraph of prose."""

    equation: str  # "" for prose
    remark: str
    id: str = ""


class CellView(NamedTuple):
    """Equations of the layers with one kind of cell."""

    layers: list[int]
    paragraphs: list[list[EquationLine]]


def token_views(model: InspectedModel) -> list[TokenView]:
    """Return the tokens of a model, shaded by their cost."""
    return [
        token_view(token, is_unknown, bits)
        for token, is_unknown, bits in zip(model.tokens, model.is_unknown, model.bits, strict=True)
    ]


def token_view(token: str, is_unknown: bool, bits: float) -> TokenView:
    """Return how a token is shown."""
    shade = f"s{round(SHADES * min(1.0, bits / MAX_SHADED_BITS))}"
    cost = f"{bits:.2f} bits"
    if is_unknown:
        shade += " unknown"
        cost += ", never seen in training"
    return TokenView(glyph(token), shade, cost, token == "\n")


def glyph(token: str) -> str:
    """Return a token as one character where that is possible."""
    return GLYPHS.get(token, escape_control_characters(token))


def cell_views(equations: Sequence[LayerEquations], prefix: str) -> list[CellView]:
    """Return the equations of each kind of cell; ids begin with the prefix."""
    return [
        CellView(kind.layers, paragraphs(kind.docstring, f"{prefix}-{number}"))
        for number, kind in enumerate(equations)
    ]


def paragraphs(docstring: str, prefix: str) -> list[list[EquationLine]]:
    """Return a cell's paragraphs: lines of equations with remarks, or prose without an equation."""
    parts = []
    for number, paragraph in enumerate(docstring.split("\n\n")):
        lines = paragraph.split("\n")
        if re.match(r"\S+(, \S+)* = ", lines[0]):
            split = [re.split(r" {3,}", line.strip(), maxsplit=1) for line in lines]
            parts.append(
                [
                    EquationLine(equation, " ".join(remark), f"{prefix}-{number}-{row}")
                    for row, (equation, *remark) in enumerate(split)
                ]
            )
        else:
            parts.append([EquationLine("", " ".join(lines))])
    return parts


def equation_ids(cells: Sequence[CellView]) -> dict[tuple[int, str], str]:
    """Return the id of the equation of each variable, by layer and name."""
    return {
        (layer, name.rstrip("'")): line.id
        for cell in cells
        for lines in cell.paragraphs
        for line in lines
        if line.id and " = " in line.equation
        for name in line.equation.partition(" = ")[0].split(", ")
        for layer in cell.layers
    }


def unit_views(
    model: InspectedModel, tokens: Sequence[TokenView], ids: Mapping[tuple[int, str], str]
) -> list[UnitView]:
    """Return how the units of a model are shown.

    Args:
        model: The model.
        tokens: Its tokens.
        ids: Ids of the equations on the page, by layer and variable.
    """
    features = model.survey.feature_units if model.survey else []
    return [unit_view(unit, tokens, features, ids) for unit in model.units]


def unit_view(
    unit: UnitTrace,
    tokens: Sequence[TokenView],
    features: Sequence[FeatureUnit],
    ids: Mapping[tuple[int, str], str],
) -> UnitView:
    """Return how a unit is shown: its captions, and its blocks."""
    state = next((trace for trace in unit.traces if trace.description == "state"), unit.traces[-1])
    others = [trace for trace in unit.traces if trace is not state]
    scales = {trace.variable: trace_scale(trace) for trace in unit.traces}
    captions = [
        describe_feature_unit(feature)
        for feature in features
        if (feature.layer, feature.unit) == (unit.layer, unit.unit)
    ]
    names = [trace.variable for trace in unit.traces]
    notes = [
        ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))
        for values in zip(*(trace.values for trace in unit.traces), strict=True)
    ]
    noted = [token._replace(note=note) for token, note in zip(tokens, notes, strict=True)]
    blocks = []
    for start in range(0, len(tokens), WIDTH):
        part = slice(start, start + WIDTH)
        first, *rest = (
            row_view(trace, part, scales[trace.variable], equation_of(unit.layer, trace, ids))
            for trace in (state, *others)
        )
        blocks.append(Block(noted[part], first, rest))
    return UnitView(
        title=f"Layer {unit.layer}, unit {unit.unit}",
        captions=[text for text in (*captions, describe_retention(unit.retention)) if text],
        scales=[
            (trace.variable, f"{scales[trace.variable]:.2g}")
            for trace in unit.traces
            if trace.kind == "signed"
        ],
        blocks=blocks,
    )


def equation_of(layer: int, trace: ActivationTrace, ids: Mapping[tuple[int, str], str]) -> str:
    """Return the id of a variable's equation; of an expression, that of a name in it."""
    names = [trace.variable, *re.findall(r"\w+", trace.variable)]
    return next((ids[layer, name] for name in names if (layer, name) in ids), "")


def trace_scale(trace: ActivationTrace) -> float:
    """Return the value that fills a row: 1 of a gate, else the largest absolute value."""
    if trace.kind == "gate":
        return 1.0
    return max(map(abs, trace.values)) or 1.0


def row_view(trace: ActivationTrace, part: slice, scale: float, equation: str) -> Row:
    """Return a variable under a block of tokens."""
    values = [value / scale for value in trace.values[part]]
    is_gate = trace.kind == "gate"
    if is_gate:
        above, below = area(values, 100, 100), ""
    else:
        above = area([max(0.0, value) for value in values], 50, 50)
        below = area([min(0.0, value) for value in values], 50, 50)
    return Row(trace.variable, trace.description, equation, is_gate, above, below)


def area(values: Sequence[float], base: int, height: int) -> str:
    """Return the path of steps from a base line: each value is one wide; "" if all are 0."""
    heights = [base - round(height * value) for value in values]
    if all(y == base for y in heights):
        return ""
    steps = [f"M0 {base}V{heights[0]}"]
    for x, (y, following) in enumerate(pairwise([*heights, base]), start=1):
        if y != following:
            steps.append(f"H{x}V{following}")
    return "".join(steps) + "Z"
