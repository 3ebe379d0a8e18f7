"""Units that track something, and gates that are saturated: Karpathy, Johnson & Fei-Fei (2015)."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from charlm.alphabet import Alphabet, Ids
from charlm.corpus import Corpus
from charlm.encoder import Tick
from charlm.evaluate import seen_or_escape
from charlm.landmarks import Marks, landmarks
from charlm.model import CharLM
from charlm.observe import observing
from charlm.passage import taken

FOUND, SCORED = "valid", "test"  # the splits in which trackers are found, and scored
MOST, LEAST = 20_000, 200  # symbols of a split
STREAMS, PIECE = 8, 256  # symbols of a stream that are held at once
LOW, HIGH = 0.1, 0.9  # a gate beyond these is saturated
Place = tuple[int, str]  # a layer, from 0, and a letter of its cell


class Tracker(msgspec.Struct, frozen=True):
    """The unit that goes best with a landmark; layers and units count from 1."""

    landmark: str
    layer: int
    unit: int
    letter: str
    found: float  # its correlation where it was found
    score: float  # and elsewhere


class Saturation(msgspec.Struct, frozen=True):
    """The share of time that a gate of each unit is below 0.1, and above 0.9."""

    layer: int
    letter: str
    says: str
    low: list[float]
    high: list[float]


class Survey(msgspec.Struct, frozen=True):
    """What units do on longer texts."""

    symbols: dict[str, int]  # of each split
    trackers: list[Tracker]
    absent: list[str]  # landmarks that one of the texts does not have
    saturation: list[Saturation]  # where trackers are found


def survey(model: CharLM, corpus: Corpus, alphabet: Alphabet, tick: Tick) -> Survey | None:
    """None where a split is too short to say anything; the model is in eval mode."""
    texts = [
        taken(corpus.encoding, corpus.text.splits[split], MOST, alphabet)
        for split in (FOUND, SCORED)
    ]
    if min(len(text.ids) for text in texts) < LEAST:
        return None
    marks = [followed(text.symbols) for text in texts]
    there = [name for name in marks[0] if all(np.ptp(mark[name]) > 0 for mark in marks)]
    first, other = (
        look(model, seen_or_escape(text.ids, alphabet), list(mark.values()), tick)
        for text, mark in zip(texts, marks, strict=True)
    )
    return Survey(
        symbols={split: len(text.ids) for split, text in zip((FOUND, SCORED), texts, strict=True)},
        trackers=[
            tracker(name, column, first, other)
            for column, name in enumerate(marks[0])
            if name in there
        ],
        absent=[name for name in marks[0] if name not in there],
        saturation=[
            Saturation(
                layer + 1,
                letter,
                model.recurrent[layer].gates[letter],
                rounded(low),
                rounded(first.high[layer, letter]),
            )
            for (layer, letter), low in first.low.items()
        ],
    )


def followed(symbols: Sequence[str]) -> dict[str, Marks]:
    """Landmarks of the streams, one after the other: each is known from its own beginning on."""
    time = len(symbols) // STREAMS
    streams = [landmarks(symbols[at : at + time]) for at in range(0, STREAMS * time, time)]
    return {name: np.concatenate([one[name] for one in streams]) for name in streams[0]}


def tracker(name: str, column: int, first: "Looked", other: "Looked") -> Tracker:
    """For the landmark of this column: the first look finds it, the other scores it."""
    best = {place: alike[:, column].abs().max(0) for place, alike in first.alike.items()}
    layer, letter = max(best, key=lambda place: float(best[place].values))
    unit = int(best[layer, letter].indices)
    found, score = (float(one.alike[layer, letter][unit, column]) for one in (first, other))
    return Tracker(name, layer + 1, unit + 1, letter, round(found, 4), round(score, 4))


class Looked(NamedTuple):
    """By layer and letter; each tensor begins with (hidden,)."""

    alike: dict[Place, Tensor]  # (hidden, landmarks), the correlation of what is held with each
    low: dict[Place, Tensor]  # the share of time that a gate is below 0.1
    high: dict[Place, Tensor]  # and above 0.9


@torch.inference_mode()
def look(model: CharLM, ids: Ids, marks: Sequence[Marks], tick: Tick) -> Looked:
    """Reads the text in streams from the start state; ids are as the model knows them.

    A unit that never changes, or a landmark that does not, is like nothing: 0.
    """
    time = len(ids) // STREAMS
    text = in_streams(ids, time)
    marked = standard(torch.stack([in_streams(mark, time).flatten() for mark in marks], dim=-1))
    held: dict[Place, list[Tensor]] = {}
    low: dict[Place, list[Tensor]] = {}
    high: dict[Place, list[Tensor]] = {}
    state = model.start(STREAMS)
    for piece in text.split(PIECE):
        with observing(model) as seen:
            _, state = model(piece.to(model.bias.device), state)
        for layer, one in enumerate(seen):
            for letter, values in one.held.items():
                held.setdefault((layer, letter), []).append(values.flatten(0, 1).cpu())
            for letter in model.recurrent[layer].gates:
                values = one.letters[letter].flatten(0, 1).cpu()
                low.setdefault((layer, letter), []).append((values < LOW).double().sum(0))
                high.setdefault((layer, letter), []).append((values > HIGH).double().sum(0))
        tick(piece.numel())
    return Looked(
        {
            place: standard(torch.cat(parts).double()).T @ marked / text.numel()
            for place, parts in held.items()
        },
        {place: torch.stack(parts).sum(0) / text.numel() for place, parts in low.items()},
        {place: torch.stack(parts).sum(0) / text.numel() for place, parts in high.items()},
    )


def in_streams(flat: Ids | Marks, time: int) -> Tensor:
    """(length,) -> (time, streams); what fills no stream is left out."""
    return torch.from_numpy(flat[: STREAMS * time].reshape(STREAMS, time).T.copy())


def standard(x: Tensor) -> Tensor:
    """(many, any), each column with mean 0 and variance 1, or all 0 where it is constant."""
    x = x - x.mean(0)
    size = x.square().mean(0).sqrt()
    return torch.where(size > 1e-9, x / size, 0.0)


def rounded(values: Tensor) -> list[float]:
    """As many digits as anybody looks at."""
    return [round(value, 4) for value in values.tolist()]
