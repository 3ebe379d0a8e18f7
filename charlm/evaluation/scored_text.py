"""Text that a run scores: a split of its corpus, or another text."""

from collections.abc import Callable, Iterator
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

from charlm.data.corpus import READING, Sources, reload_corpus
from charlm.data.encoded_text import EncodedText, encode
from charlm.data.names import printable
from charlm.data.sources import SPLITS, resolve_sources
from charlm.data.text_notes import compare_with_run
from charlm.data.units import Units, text_units
from charlm.evaluation.source_names import source_names
from charlm.progress import Progress
from charlm.registry import unknown_name_error
from charlm.results.text import TextNote
from charlm.runs.run import Run


class ScoredText(NamedTuple):
    """A span of an encoded text, and what its costs are summed over.

    Attributes:
        encoding: Encoded text.
        span: First token and one past the last.
        units: Units of the span.
        split: Name of the split; None for another text.
        notes: Oddities of another text that the run's text does not have.
        read_names: Returns the names of all sources of the encoded text.
    """

    encoding: EncodedText
    span: tuple[int, int]
    units: Units
    split: str | None
    notes: tuple[TextNote, ...]
    read_names: Callable[[], list[str]]

    def iter_file_ends(self) -> Iterator[tuple[int, str]]:
        """Yield the end of each file in the span, counted from its start, and the file's name.

        The name is empty where lines of several files were shuffled.

        Raises:
            InputNotFoundError: The names are not known, since the text of the run was moved.
            DataError: The text of the run has changed.
        """
        lengths = chain.from_iterable(self.encoding.metadata.sources)
        start, end = self.span
        for file_end, name in zip(accumulate(lengths), self.read_names(), strict=True):
            if file_end > start:
                yield min(file_end, end) - start, name
            if file_end >= end:
                return


def open_scored_text(
    run: Run, split: str, text: str | Path | None, sources: Sources, progress: Progress
) -> ScoredText:
    """Read the text that a run scores.

    Args:
        run: Run, whose vocabulary encodes the text.
        split: Split of the corpus of the run.
        text: File, directory or built-in corpus that is read whole instead.
        sources: Where the corpus of the run is now, if it was moved.
        progress: Receives numbers of bytes read.

    Raises:
        UnknownNameError: There is no such split.
        InputNotFoundError: The text cannot be found.
        DataError: The text is not UTF-8, or is not the text of the run.
    """
    if split not in SPLITS:
        raise unknown_name_error("split", split, SPLITS)
    record = run.record
    if text is None:
        corpus = reload_corpus(record.config, record.text, sources, progress)
        span, units = record.text.splits[split], corpus.units(split)
        return ScoredText(
            corpus.encoding,
            span,
            units,
            split,
            (),
            lambda: source_names(run, corpus.encoding, sources),
        )
    resolved = resolve_sources([str(text)], record.config.glob)
    with progress.counter(READING) as count:
        encoding = encode([resolved.sources], run.vocabulary, count)
    encoding.mark_documents(record.config.documents, run.vocabulary)
    found = (*encoding.metadata.notes, *resolved.notes)
    notes = compare_with_run(encoding, found, record.text.notes, printable(text))
    paths = [source.path or source.name for source in resolved.sources]
    span = (0, encoding.size)
    return ScoredText(encoding, span, text_units(encoding, span), None, notes, lambda: paths)
