"""Evaluation of a run: the exact score of a split of its corpus, or of another text."""

from pathlib import Path

import msgspec

from charlm.data.corpus import READING, Sources, reload_corpus
from charlm.data.encoded_text import encode
from charlm.data.names import printable
from charlm.data.sources import SPLITS, resolve_sources
from charlm.data.text_notes import compare_with_run
from charlm.errors import ConfigError
from charlm.evaluation.scoring import score_split, score_text
from charlm.execution.device import select_device
from charlm.progress import NoProgress, Progress
from charlm.results.run import EvaluationReport
from charlm.results.text import TextNote
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run


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

    Raises:
        ConfigError: The split, device or kernel is unknown.
        InputNotFoundError: The text or a checkpoint cannot be found.
        DataError: The text is empty or is not the text of the run, or a file is damaged.
        DivergedError: The score is not finite.
    """
    run = open_run(run)
    if split not in SPLITS:
        raise ConfigError(f"cannot score split {split!r}: there is none. Try test, valid or train")
    device, _ = select_device(device, threads)
    weights, model = load_model(run, checkpoint, kernel, device, threads)
    record = run.record
    notes: tuple[TextNote, ...] = ()
    if text is not None:
        resolved = resolve_sources([str(text)], record.config.glob)
        with progress.counter(READING) as count:
            encoding = encode([resolved.sources], run.vocabulary, count)
        found = (*encoding.metadata.notes, *resolved.notes)
        notes = compare_with_run(encoding, found, record.text.notes, printable(text))
        with progress.counter("scoring") as count:
            score = score_text(model, run.vocabulary, encoding, (0, encoding.size), count)
    else:
        corpus = reload_corpus(record.config, record.text, sources, progress)
        with progress.counter("scoring") as count:
            score = score_split(model, corpus, split, count)
    return EvaluationReport(
        **msgspec.structs.asdict(score),
        split=split if text is None else None,
        run_corpus_sha256=record.text.digest.sha256,
        weights_sha256=weights.sha256,
        step=weights.progress.step,
        kernel=model.kernel,
        notes=notes,
    )
