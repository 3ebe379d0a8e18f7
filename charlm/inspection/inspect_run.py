"""A run reads a text, and what its units do is told character by character."""

import math
from collections.abc import Sequence
from inspect import cleandoc
from typing import Literal

import torch
from torch import Tensor

from charlm.cells import loader
from charlm.cells.base import Cell
from charlm.cells.names import cell_label
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError, DataError, DivergedError
from charlm.evaluation.scoring import STREAMING_PROTOCOL, iter_token_nll
from charlm.progress import ProgressCallback
from charlm.inspection.feature_units import round_values, survey_units
from charlm.inspection.text_span import TextSpan
from charlm.models.activation_capture import LayerActivations, capture_activations
from charlm.models.char_lm import CharLM
from charlm.results.inspection import ActivationTrace, InspectionReport, LayerEquations, UnitTrace
from charlm.runs.run import Run

DEFAULT_LENGTH, MAX_LENGTH = 300, 1000  # symbols of a page: by default, and at most


def inspect_run(
    run: Run,
    weights_sha256: str,
    model: CharLM,
    corpus: Corpus,
    text: TextSpan,
    where: str,
    asked: Sequence[tuple[int, int]],
    tick: ProgressCallback,
) -> InspectionReport:
    """asked: (layer, unit) both from 1; none: those that track something."""
    alphabet = run.vocabulary
    model.eval()
    if not len(text.ids):
        raise DataError("the text is empty: there is nothing to read")
    for layer, unit in asked:
        if not (1 <= layer <= len(model.cells) and 1 <= unit <= model.hidden):
            raise ConfigError(
                f"--units {layer}:{unit}: the run has layers 1 to {len(model.cells)}, "
                f"each with units 1 to {model.hidden}"
            )
    with capture_activations(model) as seen:
        nats = torch.cat(list(iter_token_nll(model, text.ids[:, None], alphabet)))[:, 0]
    if not nats.isfinite().all():
        raise DivergedError(
            "the text costs more than a number can be: the model's training had gone astray. "
            "Train again with a lower --learning-rate"
        )
    surveyed = survey_units(model, corpus, alphabet, tick)
    trackers = surveyed.trackers if surveyed else []
    places = list(asked) or list(dict.fromkeys((one.layer, one.unit) for one in trackers))
    escape = alphabet.size if alphabet.unk_id is None else alphabet.unk_id
    return InspectionReport(
        run=run.path.resolve().name,
        cell=cell_label(run.record.config.cell),
        paper=loader.citation(type(model.cells[0])),
        equations=layer_equations(model),
        weights_sha256=weights_sha256,
        text=where,
        kind=alphabet.kind,
        protocol=STREAMING_PROTOCOL,
        symbols=text.symbols,
        unseen=(text.ids >= escape).tolist(),
        bits=round_values(nats / math.log(2)),
        survey=surveyed,
        units=[trace_unit(model, seen, *place) for place in places or [most_variable_unit(seen)]],
    )


def most_variable_unit(seen: Sequence[LayerActivations]) -> tuple[int, int]:
    """The unit whose output varies most over the text: for want of one that tracks something."""
    outputs = [next(iter(one.states.values())).var((0, 1), correction=0) for one in seen]
    layer = max(range(len(outputs)), key=lambda layer: float(outputs[layer].max()))
    return layer + 1, int(outputs[layer].argmax()) + 1


def trace_unit(
    model: CharLM, seen: Sequence[LayerActivations], layer: int, number: int
) -> UnitTrace:
    """What it holds first, then its gates and what is new, its output last."""
    cell, one = model.cells[layer - 1], seen[layer - 1]
    (output, h), *held = one.states.items()

    def row(
        letter: str, says: str, kind: Literal["gate", "signed"], values: Tensor
    ) -> ActivationTrace:
        return ActivationTrace(letter, says, kind, round_values(values[:, 0, number - 1]))

    rows = [row(letter, "what it holds", "signed", values) for letter, values in held]
    rows += [
        row(letter, says, "gate", one.gates[letter])
        for letter, says in cell.gate_descriptions.items()
    ]
    if (
        one.retention is not None
        and cell.retention_expression not in cell.gate_descriptions
        and not cell.retention_is_constant
    ):
        rows.append(row(cell.retention_expression, "share kept", "gate", one.retention))
    if cell.candidate_name:
        rows.append(row(cell.candidate_name, "candidate", "signed", one.gates[cell.candidate_name]))
    rows.append(row(output, "output" if held else "what it holds, its output", "signed", h))
    kept = (
        float(one.retention[0, 0, number - 1])
        if one.retention is not None and cell.retention_is_constant
        else None
    )
    return UnitTrace(layer, number, kept, rows)


def layer_equations(model: CharLM) -> list[LayerEquations]:
    """Of each kind of layer: what its cell's docstring says before its parameters."""
    kinds: dict[type[Cell], list[int]] = {}
    for layer, cell in enumerate(model.cells, start=1):
        kinds.setdefault(type(cell), []).append(layer)
    return [
        LayerEquations(layers, cleandoc(kind.__doc__ or "").partition("\n\nParameters:")[0])
        for kind, layers in kinds.items()
    ]
