"""Novelty of samples: what of them stands verbatim in the training text."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np

from charlm.data.corpus import Corpus, Sources, reload_corpus
from charlm.errors import DataError, InputNotFoundError
from charlm.evaluation.source_names import source_names
from charlm.evaluation.verbatim import Lengths, covered_mask, first_occurrence, longest_matches
from charlm.progress import NoProgress, Progress
from charlm.results.samples import CoveredShare, Novelty, VerbatimOverlap
from charlm.runs.run import Run

MIN_LENGTHS = (20, 50)  # of overlaps that cover a sample


def measure_novelty(
    run: Run,
    samples: Sequence[Sequence[int]],
    sources: Sources = (),
    progress: Progress = NoProgress(),
) -> list[Novelty]:
    """Return the overlap of samples with the training split of their run.

    Args:
        run: Run that wrote them.
        samples: Ids of the tokens of each sample.
        sources: Where the text of the run is now, if it was moved.
        progress: Receives numbers of bytes read, then of tokens compared.

    Raises:
        InputNotFoundError: The text cannot be found.
        DataError: It is not the text of the run.
        StorageError: The cache cannot be read or written.
    """
    config, record = run.record.config, run.record.text
    corpus = reload_corpus(config, record, sources, progress)
    train = corpus.split("train")
    with progress.counter("comparing with the training text", len(train)) as count:
        lengths = longest_matches(samples, train, count)
    places = TrainingPlaces(corpus, run, sources)
    return [
        Novelty(
            longest=_longest_overlap(sample, matches, corpus, places),
            covered=tuple(
                CoveredShare(
                    min_length=length,
                    share=float(covered_mask(matches, length).mean()) if len(sample) else 0.0,
                )
                for length in MIN_LENGTHS
            ),
            train_tokens=len(train),
        )
        for sample, matches in zip(samples, lengths, strict=True)
    ]


class TrainingPlaces:
    """Files, offsets and lines of the tokens of a training split."""

    def __init__(self, corpus: Corpus, run: Run, sources: Sources) -> None:
        """Find the files out. Their names stay unknown where they cannot be found any more."""
        self._corpus = corpus
        lengths = corpus.encoding.metadata.sources
        self._starts = list(accumulate(chain.from_iterable(lengths), initial=0))[:-1]
        try:
            self._names = source_names(run, corpus.encoding, sources)
        except (InputNotFoundError, DataError):  # the text itself came from the cache
            self._names = [""] * len(self._starts)

    def find(self, index: int) -> tuple[str, int, int]:
        """Return file, offset and line of a token of the training split."""
        token = self._corpus.record.splits["train"][0] + index
        number = bisect_right(self._starts, token) - 1
        start = self._starts[number]
        line = 1
        if ord("\n") in self._corpus.vocabulary.tokens:
            newline = self._corpus.vocabulary.tokens.index(ord("\n"))
            line += int(np.count_nonzero(self._corpus.encoding.ids[start:token] == newline))
        return self._names[number], token - start, line


def _longest_overlap(
    sample: Sequence[int], matches: Lengths, corpus: Corpus, places: TrainingPlaces
) -> VerbatimOverlap | None:
    """Return the first of the longest overlaps of a sample, and its first place in train."""
    if not matches.any():
        return None
    end = int(matches.argmax()) + 1
    length = int(matches[end - 1])
    train = corpus.split("train")
    ids = np.array(sample[end - length : end], train.dtype)
    file, offset, line = places.find(first_occurrence(ids, train))
    return VerbatimOverlap(
        length=length,
        text=corpus.vocabulary.decode(ids).decode("utf-8", "replace"),
        start=end - length,
        file=file,
        offset=offset,
        line=line,
    )
