"""Units that track something, and gates that are saturated: Karpathy, Johnson & Fei-Fei (2015)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.data.corpus import Corpus
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.evaluation.scoring import map_unknown
from charlm.progress import ProgressCallback
from charlm.inspection.text_features import FeatureValues, text_features
from charlm.inspection.text_span import span_from_corpus
from charlm.models.activation_capture import capture_activations
from charlm.models.char_lm import CharLM
from charlm.results.inspection import FeatureUnit, GateSaturation, UnitSurvey

SELECTION_SPLIT, SCORING_SPLIT = (
    "valid",
    "test",
)  # the splits in which trackers are found, and scored
MAX_TOKENS, MIN_TOKENS = 20_000, 200  # symbols of a split
STREAMS, CHUNK_SIZE = 8, 256  # symbols of a stream that are held at once
LOW_THRESHOLD, HIGH_THRESHOLD = 0.1, 0.9  # a gate beyond these is saturated
Place = tuple[int, str]  # a layer, from 0, and a letter of its cell


def survey_units(
    model: CharLM, corpus: Corpus, alphabet: Vocabulary, tick: ProgressCallback
) -> UnitSurvey | None:
    """None where a split is too short to say anything; the model is in eval mode."""
    texts = [
        span_from_corpus(corpus.encoding, corpus.record.splits[split], MAX_TOKENS, alphabet)
        for split in (SELECTION_SPLIT, SCORING_SPLIT)
    ]
    if min(len(text.ids) for text in texts) < MIN_TOKENS:
        return None
    marks = [stream_features(text.symbols) for text in texts]
    there = [name for name in marks[0] if all(np.ptp(mark[name]) > 0 for mark in marks)]
    first, other = (
        collect_statistics(model, map_unknown(text.ids, alphabet), list(mark.values()), tick)
        for text, mark in zip(texts, marks, strict=True)
    )
    return UnitSurvey(
        symbols={
            split: len(text.ids)
            for split, text in zip((SELECTION_SPLIT, SCORING_SPLIT), texts, strict=True)
        },
        trackers=[
            best_unit(name, column, first, other)
            for column, name in enumerate(marks[0])
            if name in there
        ],
        absent=[name for name in marks[0] if name not in there],
        saturation=[
            GateSaturation(
                layer + 1,
                letter,
                model.cells[layer].gate_descriptions[letter],
                round_values(low),
                round_values(first.high[layer, letter]),
            )
            for (layer, letter), low in first.low.items()
        ],
    )


def stream_features(symbols: Sequence[str]) -> dict[str, FeatureValues]:
    """Landmarks of the streams, one after the other: each is known from its own beginning on."""
    time = len(symbols) // STREAMS
    streams = [text_features(symbols[at : at + time]) for at in range(0, STREAMS * time, time)]
    return {name: np.concatenate([one[name] for one in streams]) for name in streams[0]}


def best_unit(
    name: str, column: int, first: "ActivationStatistics", other: "ActivationStatistics"
) -> FeatureUnit:
    """For the landmark of this column: the first look finds it, the other scores it."""
    best = {place: alike[:, column].abs().max(0) for place, alike in first.alike.items()}
    layer, letter = max(best, key=lambda place: float(best[place].values))
    unit = int(best[layer, letter].indices)
    found, score = (float(one.alike[layer, letter][unit, column]) for one in (first, other))
    return FeatureUnit(name, layer + 1, unit + 1, letter, round(found, 4), round(score, 4))


class ActivationStatistics(NamedTuple):
    """By layer and letter; each tensor begins with (hidden,)."""

    alike: dict[Place, Tensor]  # (hidden, landmarks), the correlation of what is held with each
    low: dict[Place, Tensor]  # the share of time that a gate is below 0.1
    high: dict[Place, Tensor]  # and above 0.9


@torch.inference_mode()
def collect_statistics(
    model: CharLM, ids: TokenIds, marks: Sequence[FeatureValues], tick: ProgressCallback
) -> ActivationStatistics:
    """Reads the text in streams from the start state; ids are as the model knows them.

    A unit that never changes, or a landmark that does not, is like nothing: 0.
    """
    time = len(ids) // STREAMS
    text = to_streams(ids, time)
    marked = standardize(torch.stack([to_streams(mark, time).flatten() for mark in marks], dim=-1))
    held: dict[Place, list[Tensor]] = {}
    low: dict[Place, list[Tensor]] = {}
    high: dict[Place, list[Tensor]] = {}
    state = model.initial_state(STREAMS)
    for piece in text.split(CHUNK_SIZE):
        with capture_activations(model) as seen:
            _, state = model(piece.to(model.bias.device), state)
        for layer, one in enumerate(seen):
            for letter, values in one.states.items():
                held.setdefault((layer, letter), []).append(values.flatten(0, 1).cpu())
            for letter in model.cells[layer].gate_descriptions:
                values = one.gates[letter].flatten(0, 1).cpu()
                low.setdefault((layer, letter), []).append((values < LOW_THRESHOLD).double().sum(0))
                high.setdefault((layer, letter), []).append(
                    (values > HIGH_THRESHOLD).double().sum(0)
                )
        tick(piece.numel())
    return ActivationStatistics(
        {
            place: standardize(torch.cat(parts).double()).T @ marked / text.numel()
            for place, parts in held.items()
        },
        {place: torch.stack(parts).sum(0) / text.numel() for place, parts in low.items()},
        {place: torch.stack(parts).sum(0) / text.numel() for place, parts in high.items()},
    )


def to_streams(flat: TokenIds | FeatureValues, time: int) -> Tensor:
    """(length,) -> (time, streams); what fills no stream is left out."""
    return torch.from_numpy(flat[: STREAMS * time].reshape(STREAMS, time).T.copy())


def standardize(x: Tensor) -> Tensor:
    """(many, any), each column with mean 0 and variance 1, or all 0 where it is constant."""
    x = x - x.mean(0)
    size = x.square().mean(0).sqrt()
    return torch.where(size > 1e-9, x / size, 0.0)


def round_values(values: Tensor) -> list[float]:
    """As many digits as anybody looks at."""
    return [round(value, 4) for value in values.tolist()]
