"""Evaluation of a run: the exact score of a split of its corpus, or of another text.

Beside the exact score there can be the cost of each character, costs by class of character, a
dynamic score, the loss as another program computes it, and baselines.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import msgspec
from torch import Tensor

from charlm.data.corpus import Corpus, Sources, reload_corpus
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError
from charlm.evaluation.baselines import measure_baselines
from charlm.evaluation.characters import CharacterCosts
from charlm.evaluation.classes import ClassSums
from charlm.evaluation.dynamic import (
    check_dynamic_settings,
    iter_dynamic_nll,
    measure_update_scales,
)
from charlm.evaluation.predictions import RecordSink, iter_predictions, report_records
from charlm.evaluation.programs import check_length, score_as_program
from charlm.evaluation.record_files import check_record_file, open_record_file
from charlm.evaluation.scored_text import ScoredText, open_scored_text
from charlm.evaluation.scoring import iter_token_nll, score_windows
from charlm.execution.device import select_device
from charlm.models.char_lm import CharLM
from charlm.progress import NoProgress, Progress, ProgressCallback, ignore
from charlm.registry import unknown_name_error
from charlm.results.baselines import BaselineResult
from charlm.results.costs import DynamicScore, DynamicSettings, Program
from charlm.results.run import EvaluationReport, Score
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run
from charlm.storage.private_cache import open_private_cache

Watcher = Callable[[Tensor], object]  # is called with the nats of each window, (time, 1)


def evaluate(
    run: Run | str | Path,
    split: str = "test",
    *,
    text: str | Path | None = None,
    checkpoint: CheckpointName = "best",
    kernel: str = "auto",
    device: str = "auto",
    threads: int = 1,
    sources: Sources = (),
    progress: Progress = NoProgress(),
    per_char: str | Path | RecordSink | None = None,
    by_class: bool = False,
    dynamic: DynamicSettings | None = None,
    protocol: Program | None = None,
    protocol_seed: int | None = None,
    baselines: bool = False,
    on_length: Callable[[int], object] = ignore,
) -> EvaluationReport:
    """Return the exact score of a run: every token once, as one stream with carried state.

    Args:
        run: Run with at least one checkpoint, or its directory.
        split: Split of the corpus of the run: "test", "valid" or "train".
        text: File, directory or built-in corpus that is scored whole instead of a split.
        checkpoint: "best" on validation, or "last".
        kernel: Name of a kernel, or "auto" for the fastest one.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: Threads on a CPU.
        sources: Where the corpus of the run is now, if it was moved.
        progress: Receives numbers of bytes read, then of tokens scored.
        per_char: New file for the cost of each character, .jsonl or .parquet. Or a function, which
            is called with lists of consecutive `CharacterRecord`, such as `records.extend`.
        by_class: Whether costs are summed by class of character.
        dynamic: Settings of dynamic evaluation, whose score then stands beside the exact one.
        protocol: Program whose loss is computed as well: "char-rnn", "torch-rnn", "nanogpt" or
            "awd".
        protocol_seed: Of the random windows of "nanogpt"; default: 1337.
        baselines: Whether n-grams and compressors are measured on the same test split.
        on_length: Is called with the number of tokens before the first is scored. What it raises
            ends the evaluation.

    Raises:
        ConfigError: The split, device, kernel or protocol is unknown, or a setting has no meaning.
        InputNotFoundError: The text or a checkpoint cannot be found.
        DataError: The text is empty, too short for the protocol or not the text of the run, or a
            file is damaged.
        OutputExistsError: The file of `per_char` exists.
        DivergedError: The score is not finite.
    """
    run = open_run(run)
    _check(text, split, dynamic, protocol, protocol_seed, baselines)
    if isinstance(per_char, str | Path):
        check_record_file(Path(per_char))
    device, _ = select_device(device, threads)
    weights, model = load_model(run, checkpoint, kernel, device, threads)
    scored = open_scored_text(run, split, text, sources, progress)
    ids = scored.encoding.ids.span(*scored.span)
    on_length(len(ids))
    if protocol:
        check_length(len(ids), protocol, scored.split)
    corpus = None
    if dynamic or baselines:  # it may be missing while another text is scored
        corpus = reload_corpus(run.record.config, run.record.text, sources, progress)
    sums = ClassSums()
    costs = CharacterCosts(scored.encoding, scored.span[0], run.vocabulary.kind, sums.add)
    with ExitStack() as stack:  # at its end, after all that may fail, the file gets its name
        sink = per_char
        if isinstance(sink, str | Path):
            sink = stack.enter_context(open_record_file(Path(sink)))
        with progress.counter("scoring") as count:
            watch = costs.add if by_class else None
            score = score_opened(model, run.vocabulary, scored, count, sink, watch)
        costs.finish()
        as_program = dynamic_score = None
        measured: tuple[BaselineResult, ...] = ()
        if protocol:
            with progress.counter(f"scoring as {protocol} does") as count:
                as_program = score_as_program(
                    model, run.vocabulary, ids[:], protocol, scored.split, protocol_seed, count
                )
        if dynamic and corpus:
            dynamic_score = _score_dynamically(model, corpus, scored, dynamic, progress)
        if baselines and corpus:
            measured = _measure_baselines(run, corpus)
    return EvaluationReport(
        **msgspec.structs.asdict(score),
        split=scored.split,
        run_corpus_sha256=run.record.text.digest.sha256,
        weights_sha256=weights.sha256,
        step=weights.progress.step,
        kernel=model.kernel,
        notes=scored.notes,
        by_class=sums.result() if by_class else None,
        as_program=as_program,
        dynamic=dynamic_score,
        baselines=measured,
    )


def score_opened(
    model: CharLM,
    vocabulary: Vocabulary,
    scored: ScoredText,
    count: ProgressCallback,
    sink: RecordSink | None = None,
    watch: Watcher | None = None,
) -> Score:
    """Return the exact score of a text that was opened.

    Args:
        model: Model that scores.
        vocabulary: Vocabulary of the model.
        scored: The text.
        count: Is called with numbers of tokens scored.
        sink: Is called with the records of all tokens, in order.
        watch: Is called with the nats of each window, (time, 1).
    """
    start, end = scored.span
    ids = scored.encoding.ids.span(start, end).column()
    if sink is None:
        windows = iter_token_nll(model, ids, vocabulary, count)
    else:
        predictions = iter_predictions(model, ids, vocabulary, count)
        windows = report_records(predictions, scored, vocabulary, sink)
    if watch is not None:
        windows = _watched(windows, watch)
    return score_windows(windows, vocabulary, scored.encoding, scored.span, scored.units)


def _watched(windows: Iterator[Tensor], watch: Watcher) -> Iterator[Tensor]:
    for window in windows:
        watch(window)
        yield window


def _check(
    text: str | Path | None,
    split: str,
    dynamic: DynamicSettings | None,
    protocol: str | None,
    protocol_seed: int | None,
    baselines: bool,
) -> None:
    """Raise ConfigError if options contradict each other, before anything is read."""
    if protocol is not None and protocol not in get_args(Program):
        raise unknown_name_error("protocol", protocol, get_args(Program))
    if protocol_seed is not None and protocol != "nanogpt":
        raise ConfigError(
            "cannot use a seed: only the protocol nanogpt draws random windows. "
            "Try --protocol nanogpt --seed 1"
        )
    if dynamic is not None:
        check_dynamic_settings(dynamic)
    if baselines and (text is not None or split != "test"):
        raise ConfigError(
            "cannot measure baselines of this text: they are those of the test split. "
            "Try --baselines without TEXT and --split"
        )


def _score_dynamically(
    model: CharLM,
    corpus: Corpus,
    scored: ScoredText,
    settings: DynamicSettings,
    progress: Progress,
) -> DynamicScore:
    """Return the dynamic score of a text; the scales of updates are from the training split."""
    train, vocabulary = corpus.stored_split("train"), corpus.vocabulary
    scales = measure_update_scales(model, train, vocabulary, settings.segment)
    start, end = scored.span
    ids = scored.encoding.ids.span(start, end)
    with progress.counter("scoring dynamically", end - start) as count:
        windows = iter_dynamic_nll(model, ids, vocabulary, scales, settings, count)
        score = score_windows(windows, vocabulary, scored.encoding, scored.span, scored.units)
    return DynamicScore(
        **msgspec.structs.asdict(settings),
        protocol="dynamic",
        bits_per_char=score.bits_per_char,
        bits_per_byte=score.bits_per_byte,
        gradient_segments=scales.segments,
    )


def _measure_baselines(run: Run, corpus: Corpus) -> tuple[BaselineResult, ...]:
    """Return the baselines of the test split of a run, which are cached."""
    record = run.record
    read = record.max_steps * record.config.batch_size * record.config.seq_len
    with open_private_cache("baselines") as cache:
        return tuple(measure_baselines(corpus, cache, characters_read=read))
