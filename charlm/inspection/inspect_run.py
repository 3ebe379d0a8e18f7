"""Inspection of a run: bits per token of a text, and activations of units and gates."""

import math
from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from charlm.cells import loader
from charlm.cells.base import Cell
from charlm.cells.names import cell_label
from charlm.data.corpus import Corpus, Sources, reload_corpus
from charlm.data.encoded_text import encode
from charlm.data.names import printable
from charlm.data.sources import resolve_sources
from charlm.errors import ConfigError, DataError, DivergedError
from charlm.evaluation.scoring import STREAMING_PROTOCOL, iter_token_nll
from charlm.execution.device import select_device
from charlm.inspection.feature_units import round_values, survey_units
from charlm.inspection.text_span import TextSpan, span_from_corpus, span_from_string
from charlm.models.activation_capture import LayerActivations, capture_activations
from charlm.models.char_lm import CharLM
from charlm.progress import NoProgress, Progress, ProgressCallback
from charlm.results.inspection import (
    ActivationTrace,
    InspectedText,
    InspectionReport,
    LayerEquations,
    UnitTrace,
)
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run

DEFAULT_LENGTH = 300  # tokens of the test split
MAX_LENGTH = 1000  # tokens of another text
Unit = tuple[int, int]  # layer and unit, both from 1


def inspect(
    run: Run | str | Path,
    text: str | None = None,
    *,
    file: str | Path | None = None,
    units: Sequence[Unit] = (),
    checkpoint: CheckpointName = "best",
    sources: Sources = (),
    progress: Progress = NoProgress(),
) -> InspectionReport:
    """Inspect a run on a text: the cost of each token, and activations of units and gates.

    Args:
        run: The run, or its directory.
        text: Text to read, at most its first 1,000 tokens. Without text and file, the first 300
            tokens of the test split are read.
        file: File to read instead, at most its first 1,000 tokens.
        units: (layer, unit), both from 1; empty: the units that follow features of the text.
        checkpoint: "best" or "last".
        sources: Where the run's corpus is now, if it was moved.
        progress: Receiver of progress.

    Raises:
        ConfigError: Both text and file are given, or there is no such unit.
        InputNotFoundError: There is no such file.
        DataError: The text is empty.
        DivergedError: The model's outputs are not finite.
    """
    if text is not None and file is not None:
        raise ConfigError("cannot inspect both --text and --file: choose one of them")
    run = open_run(run)
    select_device("cpu", 1)
    weights, model = load_model(run, checkpoint, "loop", "cpu", 1)
    corpus = reload_corpus(run.record.config, run.record.text, sources, progress)
    span, origin = read_text(run, corpus, text, file, progress)
    with progress.counter("inspecting") as tick:
        return inspect_model(run, weights.sha256, model, corpus, span, origin, units, tick)


def read_text(
    run: Run, corpus: Corpus, text: str | None, file: str | Path | None, progress: Progress
) -> tuple[TextSpan, InspectedText]:
    """Return the text to inspect, and its origin: a string, a file or the test split."""
    vocabulary = run.vocabulary
    if text is not None:
        span = span_from_string(text, MAX_LENGTH, vocabulary)
        is_truncated = len(span.ids) < len(vocabulary.encode(text))
        return span, InspectedText(source="string", is_truncated=is_truncated)
    if file is not None:
        text_sources = resolve_sources([str(file)], run.record.config.glob).sources
        with progress.counter("reading the file") as tick:
            encoding = encode([text_sources], vocabulary, tick)
        span = span_from_corpus(encoding, (0, encoding.size), MAX_LENGTH, vocabulary)
        is_truncated = encoding.size > MAX_LENGTH
        return span, InspectedText(source="file", path=printable(file), is_truncated=is_truncated)
    start, end = corpus.record.splits["test"]
    span = span_from_corpus(corpus.encoding, (start, end), DEFAULT_LENGTH, vocabulary)
    return span, InspectedText(source="test", is_truncated=end - start > DEFAULT_LENGTH)


def inspect_model(
    run: Run,
    weights_sha256: str,
    model: CharLM,
    corpus: Corpus,
    span: TextSpan,
    origin: InspectedText,
    units: Sequence[Unit],
    tick: ProgressCallback,
) -> InspectionReport:
    """Inspect a loaded model.

    Args:
        run: The run.
        weights_sha256: SHA-256 of the weights.
        model: The model with these weights; it is put in eval mode.
        corpus: The run's corpus.
        span: The text to read.
        origin: Its origin.
        units: (layer, unit), both from 1; empty: the units that follow features of the text.
        tick: Gets the number of tokens read since.

    Raises:
        ConfigError: There is no such unit.
        DataError: The text is empty.
        DivergedError: The model's outputs are not finite.
    """
    vocabulary = run.vocabulary
    model.eval()
    if not len(span.ids):
        raise DataError("cannot inspect an empty text: give at least one character")
    check_units(model, units)
    with capture_activations(model) as activations:
        nats = torch.cat(list(iter_token_nll(model, span.ids[:, None], vocabulary)))[:, 0]
    if not nats.isfinite().all():
        raise DivergedError(
            "cannot inspect the run: its outputs are not finite, as its training diverged. "
            "Train again with a lower --learning-rate"
        )
    survey = survey_units(model, corpus, vocabulary, tick)
    feature_units = survey.feature_units if survey else []
    shown = list(units) or list(dict.fromkeys((unit.layer, unit.unit) for unit in feature_units))
    return InspectionReport(
        run=run.path.resolve().name,
        cell=cell_label(run.record.config.cell),
        citation=loader.citation(type(model.cells[0])),
        equations=layer_equations(model),
        weights_sha256=weights_sha256,
        text=origin,
        vocabulary_kind=vocabulary.kind,
        protocol=STREAMING_PROTOCOL,
        tokens=span.tokens,
        is_unknown=[id_ == vocabulary.unk_id for id_ in span.ids.tolist()],
        bits=round_values(nats / math.log(2)),
        survey=survey,
        units=[
            trace_unit(model, activations, layer, unit)
            for layer, unit in shown or [most_variable_unit(activations)]
        ],
    )


def check_units(model: CharLM, units: Sequence[Unit]) -> None:
    """Check that the model has these units.

    Raises:
        ConfigError: It has not.
    """
    num_layers, hidden_size = len(model.cells), model.cells[0].hidden_size
    for layer, unit in units:
        if not (1 <= layer <= num_layers and 1 <= unit <= hidden_size):
            raise ConfigError(
                f"cannot show --units {layer}:{unit}: "
                f"the run has layers 1 to {num_layers}, each with units 1 to {hidden_size}"
            )


def most_variable_unit(activations: Sequence[LayerActivations]) -> Unit:
    """Return the unit whose output has the highest variance over the text."""
    outputs = [next(iter(layer.states.values())) for layer in activations]
    variances = [output.var((0, 1), correction=0) for output in outputs]
    layer = max(range(len(variances)), key=lambda index: float(variances[index].max()))
    return layer + 1, int(variances[layer].argmax()) + 1


def trace_unit(
    model: CharLM, activations: Sequence[LayerActivations], layer: int, unit: int
) -> UnitTrace:
    """Return the activations of a unit: its state, then gates and candidate, then its output.

    Args:
        model: The model.
        activations: Of each layer on the text, batch size 1.
        layer: From 1.
        unit: From 1.
    """
    cell, captured = model.cells[layer - 1], activations[layer - 1]
    (output_name, output), *memories = captured.states.items()
    retention_name, candidate_name = cell.retention_expression, cell.candidate_name

    def trace(
        variable: str, description: str, kind: Literal["gate", "signed"], values: Tensor
    ) -> ActivationTrace:
        return ActivationTrace(
            variable=variable,
            description=description,
            kind=kind,
            values=round_values(values[:, 0, unit - 1]),
        )

    traces = [trace(name, "state", "signed", values) for name, values in memories]
    traces += [
        trace(name, description, "gate", captured.gates[name])
        for name, description in cell.gate_descriptions.items()
    ]
    constant_retention = None
    if captured.retention is not None:
        if cell.retention_is_constant:
            constant_retention = float(captured.retention[0, 0, unit - 1])
        elif retention_name not in cell.gate_descriptions:
            traces.append(
                trace(retention_name, "share of the state kept", "gate", captured.retention)
            )
    if candidate_name:
        traces.append(trace(candidate_name, "candidate", "signed", captured.gates[candidate_name]))
    output_description = "output" if memories else "state and output"
    traces.append(trace(output_name, output_description, "signed", output))
    return UnitTrace(layer=layer, unit=unit, retention=constant_retention, traces=traces)


def layer_equations(model: CharLM) -> list[LayerEquations]:
    """Return the equations of each kind of cell: its docstring up to its parameters."""
    layers_by_kind: dict[type[Cell], list[int]] = {}
    for layer, cell in enumerate(model.cells, start=1):
        layers_by_kind.setdefault(type(cell), []).append(layer)
    return [
        LayerEquations(
            layers=layers,
            docstring=cleandoc(kind.__doc__ or "").partition("\n\nParameters:")[0],
        )
        for kind, layers in layers_by_kind.items()
    ]
