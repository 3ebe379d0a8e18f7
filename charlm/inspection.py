"""A run reads a text, and what its units do is told character by character."""

import math
from collections.abc import Sequence
from inspect import cleandoc
from typing import Literal

import msgspec
import torch
from torch import Tensor

from charlm import zoo
from charlm.cell import Cell
from charlm.config import label
from charlm.corpus import Corpus
from charlm.encoder import Tick
from charlm.errors import BadConfig, BadData, NonFinite
from charlm.evaluate import PROTOCOL, costs
from charlm.model import CharLM
from charlm.observe import Seen, observing
from charlm.passage import Passage
from charlm.run import Run
from charlm.survey import Survey, rounded, survey

BEGINNING, LONGEST = 300, 1000  # symbols of a page: by default, and at most


class Row(msgspec.Struct, frozen=True):
    """A letter of a cell's equations, symbol by symbol."""

    letter: str
    says: str
    kind: Literal["gate", "signed"]  # from 0 to 1, or on both sides of 0
    values: list[float]


class Unit(msgspec.Struct, frozen=True):
    """What a unit did; layers and units count from 1."""

    layer: int
    unit: int
    kept: float | None  # the share that it always keeps, where that is no gate's
    rows: list[Row]


class Equations(msgspec.Struct, frozen=True):
    """The layers of a kind, and their cell as it is written."""

    layers: list[int]
    written: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is to see."""

    run: str
    cell: str
    paper: str
    equations: list[Equations]
    weights_sha256: str
    text: str  # where it is from
    kind: str  # of its symbols
    protocol: str
    symbols: list[str]
    unseen: list[bool]
    bits: list[float]  # what each symbol cost
    survey: Survey | None  # None: the run's held-out text is too short
    units: list[Unit]


def inspected(
    run: Run,
    weights_sha256: str,
    model: CharLM,
    corpus: Corpus,
    text: Passage,
    where: str,
    asked: Sequence[tuple[int, int]],
    tick: Tick,
) -> Inspection:
    """asked: (layer, unit) both from 1; none: those that track something."""
    alphabet = run.alphabet
    model.eval()
    if not len(text.ids):
        raise BadData("the text is empty: there is nothing to read")
    for layer, unit in asked:
        if not (1 <= layer <= len(model.recurrent) and 1 <= unit <= model.hidden):
            raise BadConfig(
                f"--units {layer}:{unit}: the run has layers 1 to {len(model.recurrent)}, "
                f"each with units 1 to {model.hidden}"
            )
    with observing(model) as seen:
        nats = torch.cat(list(costs(model, text.ids[:, None], alphabet)))[:, 0]
    if not nats.isfinite().all():
        raise NonFinite(
            "the text costs more than a number can be: the model's training had gone astray. "
            "Train again with a lower --learning-rate"
        )
    surveyed = survey(model, corpus, alphabet, tick)
    trackers = surveyed.trackers if surveyed else []
    places = list(asked) or list(dict.fromkeys((one.layer, one.unit) for one in trackers))
    escape = alphabet.size if alphabet.escape is None else alphabet.escape
    return Inspection(
        run=run.path.resolve().name,
        cell=label(run.record.config.cell),
        paper=zoo.paper(type(model.recurrent[0])),
        equations=equations(model),
        weights_sha256=weights_sha256,
        text=where,
        kind=alphabet.kind,
        protocol=PROTOCOL,
        symbols=text.symbols,
        unseen=(text.ids >= escape).tolist(),
        bits=rounded(nats / math.log(2)),
        survey=surveyed,
        units=[doing(model, seen, *place) for place in places or [liveliest(seen)]],
    )


def liveliest(seen: Sequence[Seen]) -> tuple[int, int]:
    """The unit whose output varies most over the text: for want of one that tracks something."""
    outputs = [next(iter(one.held.values())).var((0, 1), correction=0) for one in seen]
    layer = max(range(len(outputs)), key=lambda layer: float(outputs[layer].max()))
    return layer + 1, int(outputs[layer].argmax()) + 1


def doing(model: CharLM, seen: Sequence[Seen], layer: int, number: int) -> Unit:
    """What it holds first, then its gates and what is new, its output last."""
    cell, one = model.recurrent[layer - 1], seen[layer - 1]
    (output, h), *held = one.held.items()

    def row(letter: str, says: str, kind: Literal["gate", "signed"], values: Tensor) -> Row:
        return Row(letter, says, kind, rounded(values[:, 0, number - 1]))

    rows = [row(letter, "what it holds", "signed", values) for letter, values in held]
    rows += [row(letter, says, "gate", one.letters[letter]) for letter, says in cell.gates.items()]
    if one.kept is not None and cell.keeps not in cell.gates and not cell.alike:
        rows.append(row(cell.keeps, "share kept", "gate", one.kept))
    if cell.candidate:
        rows.append(row(cell.candidate, "candidate", "signed", one.letters[cell.candidate]))
    rows.append(row(output, "output" if held else "what it holds, its output", "signed", h))
    kept = float(one.kept[0, 0, number - 1]) if one.kept is not None and cell.alike else None
    return Unit(layer, number, kept, rows)


def equations(model: CharLM) -> list[Equations]:
    """Of each kind of layer: what its cell's docstring says before its parameters."""
    kinds: dict[type[Cell], list[int]] = {}
    for layer, cell in enumerate(model.recurrent, start=1):
        kinds.setdefault(type(cell), []).append(layer)
    return [
        Equations(layers, cleandoc(kind.__doc__ or "").partition("\n\nParameters:")[0])
        for kind, layers in kinds.items()
    ]
