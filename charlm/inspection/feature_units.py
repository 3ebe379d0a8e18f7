"""Units that follow features of the text, and saturated gates (Karpathy et al., 2015)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.data.corpus import Corpus
from charlm.data.documents import Starts
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.inspection.gate_order import ordered_gates
from charlm.inspection.text_features import EPISODIC_FEATURES, FeatureValues, text_features
from charlm.inspection.text_span import TextSpan, span_from_corpus
from charlm.inspection.unit_episodes import summarize_episodes
from charlm.models.activation_capture import capture_activations, join_pieces
from charlm.models.char_lm import CharLM
from charlm.models.documents import read_documents
from charlm.progress import ProgressCallback
from charlm.results.inspection import FeatureUnit, GateSaturation, UnitSurvey

SELECTION_SPLIT, HELDOUT_SPLIT = "valid", "test"  # units are selected on one, scored on the other
MAX_TOKENS, MIN_TOKENS = 20_000, 200  # of a split
NUM_STREAMS = 8  # that are read in parallel
CHUNK_LENGTH = 256  # tokens of a stream with activations in memory at once
MIN_CORRELATION = 0.2  # of a unit that is said to follow a feature, on the selection split
CLOSED_BELOW, OPEN_ABOVE = 0.1, 0.9  # a gate is saturated beyond these values
VariableKey = tuple[int, str]  # layer, from 0, and variable of its cell
UnitSeries = dict[str, Tensor]  # variable -> its values, (length, NUM_STREAMS)


class ActivationStatistics(NamedTuple):
    """Statistics of units by layer and variable."""

    correlations: dict[VariableKey, Tensor]  # (hidden_size, features)
    closed: dict[VariableKey, Tensor]  # share of tokens with the gate closed, (hidden_size,)
    open: dict[VariableKey, Tensor]  # share of tokens with the gate open, (hidden_size,)
    series: dict[tuple[int, int], UnitSeries]  # values of selected units (layer, unit), from 0


class SelectedUnit(NamedTuple):
    """The unit that follows a feature best on the selection split; layer and unit from 0."""

    feature: str
    column: int  # of the feature in the correlations
    layer: int
    variable: str
    unit: int
    correlation: float


def survey_units(
    model: CharLM, corpus: Corpus, vocabulary: Vocabulary, tick: ProgressCallback
) -> UnitSurvey | None:
    """Find the unit that follows each feature best, if one does, and measure saturation.

    Args:
        model: Trained model in eval mode.
        corpus: Corpus of the run.
        vocabulary: Vocabulary of the run.
        tick: Gets the number of tokens read since.

    Returns:
        The survey, or None if a split has fewer than MIN_TOKENS tokens.
    """
    spans = {
        split: span_from_corpus(
            corpus.encoding, corpus.record.splits[split], MAX_TOKENS, vocabulary
        )
        for split in (SELECTION_SPLIT, HELDOUT_SPLIT)
    }
    if min(len(span.ids) for span in spans.values()) < MIN_TOKENS:
        return None
    features = {split: stream_features(span.tokens) for split, span in spans.items()}
    selection = collect_statistics(
        model, spans[SELECTION_SPLIT], list(features[SELECTION_SPLIT].values()), tick
    )
    selected, missing_features, unfollowed_features = [], [], []
    for column, name in enumerate(features[SELECTION_SPLIT]):
        if any(np.ptp(values[name]) == 0 for values in features.values()):
            missing_features.append(name)
            continue
        unit = select_unit(name, column, selection)
        if abs(unit.correlation) < MIN_CORRELATION:
            unfollowed_features.append(name)
        else:
            selected.append(unit)
    span, values = spans[HELDOUT_SPLIT], features[HELDOUT_SPLIT]
    units = [(unit.layer, unit.unit) for unit in selected]
    heldout = collect_statistics(model, span, list(values.values()), tick, units)
    length = len(span.ids) // NUM_STREAMS
    feature_units = [
        score_unit(model, unit, heldout, to_streams(values[unit.feature], length))
        for unit in selected
    ]
    return UnitSurvey(
        tokens={split: len(span.ids) for split, span in spans.items()},
        feature_units=feature_units,
        missing_features=missing_features,
        unfollowed_features=unfollowed_features,
        saturation=[
            GateSaturation(
                layer=layer + 1,
                variable=variable,
                description=model.cells[layer].gate_descriptions[variable],
                closed=round_values(closed),
                open=round_values(selection.open[layer, variable]),
            )
            for (layer, variable), closed in selection.closed.items()
        ],
    )


def stream_features(tokens: Sequence[str]) -> dict[str, FeatureValues]:
    """Return the features of all streams, concatenated; each stream begins a text of its own."""
    length = len(tokens) // NUM_STREAMS
    starts = range(0, NUM_STREAMS * length, length)
    streams = [text_features(tokens[start : start + length]) for start in starts]
    return {name: np.concatenate([stream[name] for stream in streams]) for name in streams[0]}


def select_unit(feature: str, column: int, selection: ActivationStatistics) -> SelectedUnit:
    """Return the unit with the highest absolute correlation on the selection split.

    Args:
        feature: Name of the feature.
        column: Its column in the correlations.
        selection: Statistics that select the unit.
    """
    best = {key: values[:, column].abs().max(0) for key, values in selection.correlations.items()}
    layer, variable = max(best, key=lambda key: float(best[key].values))
    unit = int(best[layer, variable].indices)
    correlation = float(selection.correlations[layer, variable][unit, column])
    return SelectedUnit(feature, column, layer, variable, unit, round(correlation, 4))


def score_unit(
    model: CharLM, selected: SelectedUnit, heldout: ActivationStatistics, feature: Tensor
) -> FeatureUnit:
    """Return a unit with what it does on another text, which scores it without selection bias.

    Args:
        model: Its model.
        selected: The unit.
        heldout: Statistics of that text.
        feature: Values of the feature there, (length, NUM_STREAMS).
    """
    layer, variable, unit = selected.layer, selected.variable, selected.unit
    correlation = float(heldout.correlations[layer, variable][unit, selected.column])
    descriptions = model.cells[layer].gate_descriptions
    series = heldout.series[layer, unit]
    return FeatureUnit(
        feature=selected.feature,
        layer=layer + 1,
        unit=unit + 1,
        variable=variable,
        selection_correlation=selected.correlation,
        heldout_correlation=round(correlation, 4),
        in_episodes=summarize_episodes(
            feature.numpy(),
            series[variable].numpy(),
            {
                name: (descriptions[name], series[name].numpy())
                for name in shown_gates(model, layer)
            },
        )
        if selected.feature in EPISODIC_FEATURES
        else None,
    )


@torch.inference_mode()
def collect_statistics(
    model: CharLM,
    span: TextSpan,
    features: Sequence[FeatureValues],
    tick: ProgressCallback,
    units: Sequence[tuple[int, int]] = (),
) -> ActivationStatistics:
    """Read a text in parallel streams from the initial state and collect statistics.

    A constant unit or feature has correlation 0.

    Args:
        model: Trained model in eval mode.
        span: The text. Where the model's state is reset at documents, so it is here.
        features: Values of each feature in the streams, one stream after another.
        tick: Gets the number of tokens read since.
        units: Layer and unit, from 0, of those whose values are returned.
    """
    length = len(span.ids) // NUM_STREAMS
    text = to_streams(span.ids, length)
    marks_of_text = np.zeros(len(span.ids), bool) if span.starts is None else span.starts
    starts = to_streams(marks_of_text, length)
    feature_columns = [to_streams(values, length).flatten() for values in features]
    targets = standardize(torch.stack(feature_columns, dim=-1))
    states: dict[VariableKey, list[Tensor]] = {}
    closed: dict[VariableKey, list[Tensor]] = {}
    open_: dict[VariableKey, list[Tensor]] = {}
    gates: dict[tuple[int, int, str], list[Tensor]] = {}
    state = model.initial_state(NUM_STREAMS)
    for chunk, marks in zip(text.split(CHUNK_LENGTH), starts.split(CHUNK_LENGTH), strict=True):
        device = model.bias.device
        with capture_activations(model) as activations:
            _, state = read_documents(model, chunk.to(device), state, marks.to(device))
        for layer, layer_activations in enumerate(join_pieces(activations, len(model.cells))):
            for variable, values in layer_activations.states.items():
                states.setdefault((layer, variable), []).append(values.flatten(0, 1).cpu())
            for variable in shown_gates(model, layer):
                gate = layer_activations.gates[variable].flatten(0, 1).cpu()
                key = (layer, variable)
                closed.setdefault(key, []).append((gate < CLOSED_BELOW).double().sum(0))
                open_.setdefault(key, []).append((gate > OPEN_ABOVE).double().sum(0))
                for unit in (unit for unit_layer, unit in set(units) if unit_layer == layer):
                    gates.setdefault((layer, unit, variable), []).append(gate[:, unit])
        tick(chunk.numel())
    num_tokens = text.numel()
    series: dict[tuple[int, int], UnitSeries] = {unit: {} for unit in units}
    for (layer, unit, variable), chunks in gates.items():
        series[layer, unit][variable] = torch.cat(chunks).view(-1, NUM_STREAMS)
    for layer, unit in series:
        for variable in (name for state_layer, name in states if state_layer == layer):
            column = torch.cat([chunk[:, unit] for chunk in states[layer, variable]])
            series[layer, unit][variable] = column.view(-1, NUM_STREAMS)
    return ActivationStatistics(
        correlations={
            key: standardize(torch.cat(chunks).double()).T @ targets / num_tokens
            for key, chunks in states.items()
        },
        closed={key: torch.stack(counts).sum(0) / num_tokens for key, counts in closed.items()},
        open={key: torch.stack(counts).sum(0) / num_tokens for key, counts in open_.items()},
        series=series,
    )


def shown_gates(model: CharLM, layer: int) -> list[str]:
    """Return the gates of a layer, from 0, in their order, without the candidate."""
    cell = model.cells[layer]
    return [name for name in ordered_gates(cell) if name in cell.gate_descriptions]


def to_streams(values: TokenIds | FeatureValues | Starts, length: int) -> Tensor:
    """Return values (n,) as (length, NUM_STREAMS); a rest that fills no stream is dropped."""
    return torch.from_numpy(values[: NUM_STREAMS * length].reshape(NUM_STREAMS, length).T.copy())


def standardize(x: Tensor) -> Tensor:
    """Return x (n, columns) with mean 0 and variance 1 per column; a constant column becomes 0."""
    x = x - x.mean(0)
    std = x.square().mean(0).sqrt()
    return torch.where(std > 1e-9, x / std, 0.0)


def round_values(values: Tensor) -> list[float]:
    """Return the values with four decimals."""
    return [round(value, 4) for value in values.tolist()]
