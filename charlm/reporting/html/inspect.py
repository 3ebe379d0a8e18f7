"""Page of an inspected run: bits and activations as shades of a color."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from charlm.console import escape_control_characters
from charlm.reporting.formatting import format_signed
from charlm.reporting.html.page import render_template
from charlm.reporting.wording.text import describe_retention, describe_text_origin, token_noun
from charlm.results.inspection import FeatureUnit, GateSaturation, InspectionReport, UnitTrace

WIDTH = 32  # tokens of a block, which fit side by side on a telephone
SHADES = 10
MAX_SHADED_BITS = 8.0  # bits from which on the shade is the strongest
GLYPHS = {" ": "\xa0", "\n": "↵", "\t": "→"}


class TokenView(NamedTuple):
    """A token as it is shown."""

    glyph: str
    shade: str  # class of the page's style
    cost: str  # in words
    ends_line: bool


class HeatmapRow(NamedTuple):
    """A variable under a block of tokens."""

    variable: str
    description: str
    cells: list[tuple[str, str]]  # shade and value at each token


class Block(NamedTuple):
    """Tokens side by side and the variables under them."""

    tokens: Sequence[TokenView]
    rows: list[HeatmapRow]


class UnitView(NamedTuple):
    """A unit as it is shown."""

    title: str
    features: list[str]  # of the text that it follows
    retention: str  # "" if it varies
    scales: list[tuple[str, str]]  # signed variables and the largest absolute value of each
    blocks: list[Block]


class SaturationPlot(NamedTuple):
    """Share of tokens at which the units' gates are closed and open, in percent."""

    title: str
    description: str
    points: list[tuple[int, int]]
    closed: int  # units that are closed at most tokens
    open: int
    units: int


def render_inspection(report: InspectionReport) -> bytes:
    """Return the page of `charlm inspect`."""
    tokens = [
        token_view(token, is_unknown, bits)
        for token, is_unknown, bits in zip(
            report.tokens, report.is_unknown, report.bits, strict=True
        )
    ]
    survey = report.survey
    features = survey.feature_units if survey else []
    variables = {
        trace.variable: trace.description for unit in report.units for trace in unit.traces
    }
    layers = sum(len(kind.layers) for kind in report.equations)
    noun = token_noun(report.vocabulary_kind)
    return render_template(
        "inspect.html",
        report=report,
        origin=describe_text_origin(report.text),
        noun=noun,
        count=f"{len(tokens):,} {noun}{'s' * (len(tokens) != 1)}",
        bits=sum(report.bits) / len(report.bits),
        max_shaded_bits=MAX_SHADED_BITS,
        shades=SHADES,
        ramps={
            "cost": [f"s{shade}" for shade in range(SHADES + 1)],
            "gate": [f"g{shade}" for shade in range(SHADES + 1)],
            "signed": [f"n{shade}" for shade in range(SHADES, 0, -1)]
            + [f"p{shade}" for shade in range(SHADES + 1)],
        },
        cells=[(kind.layers, paragraphs(kind.docstring)) for kind in report.equations],
        width=WIDTH,
        name_width=1 + max(map(len, variables), default=0),
        tokens=tokens,
        units=[unit_view(unit, tokens, features) for unit in report.units],
        variables=variables,
        survey=survey,
        features=[
            [
                unit.feature,
                f"layer {unit.layer}, unit {unit.unit}",
                unit.variable,
                format_signed(unit.selection_correlation),
                format_signed(unit.heldout_correlation),
            ]
            for unit in features
        ],
        gates=[saturation_plot(gate, layers) for gate in survey.saturation] if survey else [],
    )


def paragraphs(docstring: str) -> list[list[tuple[str, str]]]:
    """Return a cell's paragraphs: lines of equations with remarks, or prose without an equation."""
    parts = []
    for paragraph in docstring.split("\n\n"):
        lines = paragraph.split("\n")
        if re.match(r"\S+(, \S+)* = ", lines[0]):
            split = [re.split(r" {3,}", line.strip(), maxsplit=1) for line in lines]
            parts.append([(equation, " ".join(remark)) for equation, *remark in split])
        else:
            parts.append([("", " ".join(lines))])
    return parts


def token_view(token: str, is_unknown: bool, bits: float) -> TokenView:
    """Return how a token is shown."""
    shade = f"s{round(SHADES * min(1.0, bits / MAX_SHADED_BITS))}"
    cost = f"{bits:.2f} bits"
    if is_unknown:
        shade += " unknown"
        cost += ", never seen in training"
    glyph = GLYPHS.get(token, escape_control_characters(token))
    return TokenView(glyph, shade, cost, token == "\n")


def unit_view(
    unit: UnitTrace, tokens: Sequence[TokenView], features: Sequence[FeatureUnit]
) -> UnitView:
    """Return how a unit is shown."""
    rows, scales = [], []
    for trace in unit.traces:
        scale = 1.0
        if trace.kind == "signed":
            scale = max(map(abs, trace.values)) or 1.0
            scales.append((trace.variable, f"{scale:.2g}"))
        cells = [(shade_class(value / scale, trace.kind), f"{value:.2f}") for value in trace.values]
        rows.append(HeatmapRow(trace.variable, trace.description, cells))
    return UnitView(
        title=f"Layer {unit.layer}, unit {unit.unit}",
        features=[
            f"{feature.feature} ({format_signed(feature.heldout_correlation)} on the test split)"
            for feature in features
            if (feature.layer, feature.unit) == (unit.layer, unit.unit)
        ],
        retention=describe_retention(unit.retention),
        scales=scales,
        blocks=[
            Block(
                tokens[start : start + WIDTH],
                [row._replace(cells=row.cells[start : start + WIDTH]) for row in rows],
            )
            for start in range(0, len(tokens), WIDTH)
        ],
    )


def shade_class(value: float, kind: Literal["gate", "signed"]) -> str:
    """Return the class of a value from -1 to 1: g0 to g10 of a gate, else n10 to n1, p0 to p10."""
    level = round(SHADES * min(1.0, abs(value)))
    return f"g{level}" if kind == "gate" else f"n{level}" if value < 0 else f"p{level}"


def saturation_plot(gate: GateSaturation, layers: int) -> SaturationPlot:
    """Return the plot of a gate; layers: of the model."""
    points = {(round(100 * x), round(100 * y)) for x, y in zip(gate.closed, gate.open, strict=True)}
    closed, opened = (sum(share > 0.5 for share in shares) for shares in (gate.closed, gate.open))
    return SaturationPlot(
        title=gate.variable + (f", layer {gate.layer}" if layers > 1 else ""),
        description=gate.description,
        points=sorted(points),
        closed=closed,
        open=opened,
        units=len(gate.closed),
    )
