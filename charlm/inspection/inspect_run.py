"""Inspection of a run: bits per token of a text, and activations of units and gates."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

from charlm.cells import loader
from charlm.cells.names import cell_label
from charlm.data.corpus import Corpus, Sources, reload_corpus
from charlm.data.documents import Documents, SeparatorStarts
from charlm.errors import ConfigError, DataError, DivergedError
from charlm.evaluation.scoring import DOCUMENTS_PROTOCOL, STREAMING_PROTOCOL, iter_token_nll
from charlm.execution.device import select_device
from charlm.inspection.blanked_word import blank_word
from charlm.inspection.feature_units import round_values, survey_units
from charlm.inspection.model_comparison import compare_models, has_same_splits
from charlm.inspection.text_choice import read_text
from charlm.inspection.text_span import TextSpan, span_from_string
from charlm.inspection.unit_traces import (
    Unit,
    check_units,
    layer_equations,
    most_variable_unit,
    trace_unit,
)
from charlm.models.activation_capture import capture_activations, join_pieces
from charlm.models.char_lm import CharLM
from charlm.progress import NoProgress, Progress, ProgressCallback
from charlm.results.inspection import InspectedModel, InspectedText, InspectionReport
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run


def inspect(
    run: Run | str | Path,
    text: str | None = None,
    *,
    other: Run | str | Path | None = None,
    file: str | Path | None = None,
    blank: str | None = None,
    occurrence: int = 1,
    units: Sequence[Unit] = (),
    other_units: Sequence[Unit] = (),
    checkpoint: CheckpointName = "best",
    sources: Sources = (),
    progress: Progress = NoProgress(),
) -> InspectionReport:
    """Inspect a run on a text: the cost of each token, and activations of units and gates.

    Args:
        run: The run, or its directory.
        text: Text to read, at most its first 1,000 tokens. Without text and file, the first 300
            tokens of the test split are read.
        other: A second run, which reads the same text.
        file: File to read instead, at most its first 1,000 tokens.
        blank: Word or passage of the text to replace by others of the same length, to see which
            characters behind it depend on it.
        occurrence: Which of several places with this word is replaced, from 1.
        units: (layer, unit), both from 1; empty: the units that follow features of the text.
        other_units: The same of the second run.
        checkpoint: "best" or "last".
        sources: Where the run's corpus is now, if it was moved.
        progress: Receiver of progress.

    Raises:
        ConfigError: Both text and file are given, or there is no such unit or occurrence.
        InputNotFoundError: There is no such file or run.
        DataError: The text is empty, has not the word, or cannot be read by both runs.
        DivergedError: The model's outputs are not finite.
    """
    if text is not None and file is not None:
        raise ConfigError("cannot inspect both --text and --file: choose one of them")
    if other is None and other_units:
        raise ConfigError("cannot show other_units: there is no second run. Try units")
    runs = [open_run(each) for each in (run, other) if each is not None]
    select_device("cpu", 1)
    loaded = [load_model(each, checkpoint, "loop", "cpu", 1) for each in runs]
    models = [model for _, model in loaded]
    first, last = runs[0], runs[-1]
    corpora = [reload_corpus(first.record.config, first.record.text, sources, progress)]
    if other is not None:
        is_same_text = last.record.text.digest == first.record.text.digest
        moved = sources if is_same_text else ()
        corpora.append(reload_corpus(last.record.config, last.record.text, moved, progress))
    beginning, origin = read_text(first, corpora[0], text, file, progress)
    check_readable(beginning, runs)
    digest = first.record.text.digest
    rules = [
        document_rule(each, corpus, origin, is_own=each.record.text.digest == digest)
        for each, corpus in zip(runs, corpora, strict=True)
    ]
    spans = [
        span_from_string(beginning, each.vocabulary, rule)
        for each, rule in zip(runs, rules, strict=True)
    ]
    with progress.counter("inspecting") as tick:
        inspected = [
            inspect_model(each, weights.sha256, model, corpus, span, shown, tick)
            for each, (weights, model), corpus, span, shown in zip(
                runs, loaded, corpora, spans, (units, other_units), strict=False
            )
        ]
        blanked = None
        if blank is not None:
            blanked = blank_word(
                runs, models, rules, corpora[0], beginning, blank, occurrence, tick
            )
    comparison = None
    if other is not None:
        comparison = compare_models(
            beginning, inspected[0], inspected[1], has_same_splits(first, last)
        )
    protocol = DOCUMENTS_PROTOCOL if rules[0] else STREAMING_PROTOCOL
    report = make_report(inspected[0], origin, protocol)
    return msgspec.structs.replace(report, comparison=comparison, blanked=blanked)


def inspect_model(
    run: Run,
    weights_sha256: str,
    model: CharLM,
    corpus: Corpus,
    span: TextSpan,
    units: Sequence[Unit],
    tick: ProgressCallback,
) -> InspectedModel:
    """Inspect a loaded model.

    Args:
        run: The run.
        weights_sha256: SHA-256 of the weights.
        model: The model with these weights; it is put in eval mode.
        corpus: The run's corpus.
        span: The text to read.
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
        starts = None if span.starts is None else span.starts[:, None]
        windows = iter_token_nll(model, span.ids[:, None], vocabulary, starts=starts)
        nats = torch.cat(list(windows))[:, 0]
    layers = join_pieces(activations, len(model.cells))
    if not nats.isfinite().all():
        raise DivergedError(
            "cannot inspect the run: its outputs are not finite, as its training diverged. "
            "Train again with a lower --learning-rate"
        )
    survey = survey_units(model, corpus, vocabulary, tick)
    feature_units = survey.feature_units if survey else []
    shown = list(units) or list(dict.fromkeys((unit.layer, unit.unit) for unit in feature_units))
    return InspectedModel(
        run=run.path.resolve().name,
        cell=cell_label(run.record.config.cell),
        citation=loader.citation(type(model.cells[0])),
        equations=layer_equations(model),
        weights_sha256=weights_sha256,
        vocabulary_kind=vocabulary.kind,
        tokens=span.tokens,
        is_unknown=[id_ == vocabulary.unk_id for id_ in span.ids.tolist()],
        bits=round_values(nats / math.log(2)),
        survey=survey,
        units=[
            trace_unit(model, layers, layer, unit)
            for layer, unit in shown or [most_variable_unit(layers)]
        ],
    )


def document_rule(
    run: Run, corpus: Corpus, origin: InspectedText, *, is_own: bool
) -> Documents | None:
    """Return the rule that tells where the state of a run is reset in the text; None: nowhere.

    A text or file that is given is one file, so that only a separator begins a document in it.

    Args:
        run: The run.
        corpus: Its corpus, with documents if the run has them.
        origin: Where the text is from.
        is_own: Whether the test split that the text may be from is that of the run.
    """
    if origin.source == "test" and is_own:
        return corpus.encoding.ids.span(*run.record.text.splits["test"]).documents
    documents = corpus.encoding.ids.documents
    if not isinstance(documents, SeparatorStarts):
        return None
    return SeparatorStarts(documents.separator)


def make_report(model: InspectedModel, origin: InspectedText, protocol: str) -> InspectionReport:
    """Return the report of a model on a text of this origin, read by this protocol."""
    fields = msgspec.structs.asdict(model)
    return InspectionReport(text=origin, protocol=protocol, **fields)


def check_readable(text: str, runs: Sequence[Run]) -> None:
    """Check that each of two runs can read the text.

    Raises:
        DataError: It has bytes that are not UTF-8, and one of them reads characters.
    """
    has_bytes = any("\ud800" <= character <= "\udfff" for character in text)
    kinds = {run.vocabulary.kind for run in runs}
    if has_bytes and len(kinds) > 1:
        (reader,) = (run for run in runs if run.vocabulary.kind == "chars")
        raise DataError(
            f"cannot compare the runs on this text: it has bytes that are not UTF-8, and "
            f"{reader.path} reads characters. Try another text with --file"
        )
