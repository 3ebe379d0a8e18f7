"""Page of an inspected run: bits of a text, units and gates, of one model or of two."""

from collections.abc import Sequence
from typing import NamedTuple

from charlm.reporting.formatting import format_signed
from charlm.reporting.html.inspect_changes import blanked_view, pair_view
from charlm.reporting.html.inspect_units import (
    MAX_SHADED_BITS,
    SHADES,
    SHOWN_BLOCKS,
    WIDTH,
    CellView,
    TokenView,
    UnitView,
    cell_views,
    equation_ids,
    token_views,
    unit_views,
)
from charlm.reporting.html.page import render_template
from charlm.reporting.wording.text import describe_text_origin, token_noun
from charlm.results.inspection import (
    GateSaturation,
    InspectedModel,
    InspectionReport,
    UnitSurvey,
)


class SaturationPlot(NamedTuple):
    """Share of tokens at which the units' gates are closed and open, in percent."""

    title: str
    description: str
    points: list[tuple[int, int]]
    closed: int  # units that are closed at most tokens
    open: int
    units: int


class ModelView(NamedTuple):
    """A model as it is shown."""

    name: str
    cell: str
    citation: str
    noun: str  # what a token is called
    bits: float  # mean
    weights: str
    tokens: list[TokenView]
    has_unknown: bool
    cells: list[CellView]
    variables: dict[str, str]  # of the units that are shown, with descriptions
    units: list[UnitView]
    survey: UnitSurvey | None
    features: list[list[str]]  # rows of a table
    gates: list[SaturationPlot]


def render_inspection(report: InspectionReport) -> bytes:
    """Return the page of `charlm inspect`."""
    inspected = [report, *([report.comparison.other] if report.comparison else [])]
    names = model_names(inspected)
    models = [
        model_view(model, name, f"equation-{number}")
        for number, (model, name) in enumerate(zip(inspected, names, strict=True))
    ]
    variables = [variable for model in models for variable in model.variables]
    noun = models[0].noun
    count = len(report.tokens)
    return render_template(
        "inspect.html",
        models=models,
        origin=describe_text_origin(report.text),
        protocol=report.protocol,
        noun=noun,
        count=f"{count:,} {noun}{'s' * (count != 1)}",
        max_shaded_bits=MAX_SHADED_BITS,
        shades=SHADES,
        ramps={
            "cost": [f"s{shade}" for shade in range(SHADES + 1)],
            "change": [f"e{shade}" for shade in range(SHADES, 0, -1)]
            + [f"s{shade}" for shade in range(SHADES + 1)],
            "difference": [f"n{shade}" for shade in range(SHADES, 0, -1)]
            + [f"p{shade}" for shade in range(SHADES + 1)],
        },
        width=WIDTH,
        shown_blocks=SHOWN_BLOCKS,
        name_width=2 + max(map(len, variables), default=0),
        pair=pair_view(report.comparison, names) if report.comparison else None,
        blanked=blanked_view(report.blanked, names) if report.blanked else None,
    )


def model_names(models: Sequence[InspectedModel]) -> list[str]:
    """Return the names of the runs, with a number where they are the same."""
    names = [model.run for model in models]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def model_view(model: InspectedModel, name: str, prefix: str) -> ModelView:
    """Return how a model is shown; ids of its equations begin with the prefix."""
    tokens = token_views(model)
    cells = cell_views(model.equations, prefix)
    survey = model.survey
    layers = sum(len(kind.layers) for kind in model.equations)
    return ModelView(
        name=name,
        cell=model.cell,
        citation=model.citation,
        noun=token_noun(model.vocabulary_kind),
        bits=sum(model.bits) / len(model.bits),
        weights=model.weights_sha256,
        tokens=tokens,
        has_unknown=any(model.is_unknown),
        cells=cells,
        variables={
            trace.variable: trace.description for unit in model.units for trace in unit.traces
        },
        units=unit_views(model, tokens, equation_ids(cells)),
        survey=survey,
        features=[
            [
                unit.feature,
                f"layer {unit.layer}, unit {unit.unit}",
                unit.variable,
                format_signed(unit.selection_correlation),
                format_signed(unit.heldout_correlation),
            ]
            for unit in (survey.feature_units if survey else [])
        ],
        gates=[saturation_plot(gate, layers) for gate in survey.saturation] if survey else [],
    )


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
