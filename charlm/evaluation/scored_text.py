"""Text that a run scores: a split of its corpus, or another text."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

from charlm.data.corpus import READING, Sources, reload_corpus
from charlm.data.encoded_text import EncodedText, encode
from charlm.data.names import printable
from charlm.data.sources import SPLITS, resolve_sources
from charlm.data.splits import plan_splits
from charlm.data.text_notes import compare_with_run
from charlm.data.units import Units, text_units
from charlm.errors import DataError
from charlm.registry import unknown_name_error
from charlm.progress import Progress
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

        Raises:
            InputNotFoundError: The names are not known, since the text of the run was moved.
            DataError: The text of the run has changed.
        """
        lengths = list(chain.from_iterable(self.encoding.metadata.sources))
        names = self.read_names()
        if len(names) != len(lengths):
            raise DataError(
                f"cannot name the files of the text: it was read from {len(lengths):,}, and now "
                f"there are {len(names):,}. Try --corpus with the text that the run read"
            )
        start, end = self.span
        for file_end, name in zip(accumulate(lengths), names, strict=True):
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
        names = [str(sources)] if isinstance(sources, str | Path) else list(map(str, sources))
        names = names or list(record.text.sources)
        return ScoredText(
            corpus.encoding, span, units, split, (), lambda: _corpus_names(run, names)
        )
    resolved = resolve_sources([str(text)], record.config.glob)
    with progress.counter(READING) as count:
        encoding = encode([resolved.sources], run.vocabulary, count)
    found = (*encoding.metadata.notes, *resolved.notes)
    notes = compare_with_run(encoding, found, record.text.notes, printable(text))
    paths = [source.path or source.name for source in resolved.sources]
    span = (0, encoding.size)
    return ScoredText(encoding, span, text_units(encoding, span), None, notes, lambda: paths)


def _corpus_names(run: Run, names: Sequence[str]) -> list[str]:
    """Return the paths of all sources of the corpus of a run, in the order of its splits."""
    config = run.record.config
    if list(names) == ["-"]:
        return ["-"]
    files = {"valid": config.valid_file, "test": config.test_file}
    separate = {
        split: resolve_sources([file], config.glob).sources for split, file in files.items() if file
    }
    plan = plan_splits(resolve_sources(names, config.glob, config.vocab), separate, config)
    return [source.path or source.name for source in chain.from_iterable(plan.parts)]
