"""Splits of a text: which files, lines or places are train, valid and test."""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from charlm.config import Config
from charlm.data.encoded_text import EncodedText
from charlm.data.lines import split_lines
from charlm.data.sources import SPLITS, ResolvedSources, TextSource
from charlm.errors import DataError
from charlm.results.text import SplitBy, VocabularyRule
from charlm.settings.values import parse_split_ratios

MIN_FILES = 100  # from which on a text is split by file
HASHES = 1 << 64  # number of values of a hash
SALT = b"charlm"  # makes the splits of python-source come near their ratios


class SplitPlan(NamedTuple):
    """Sources in the order in which they are read.

    Attributes:
        split_by: What a split is made of.
        parts: Sources of each part of the text.
        splits: Splits of each part; several are cut by position.
    """

    split_by: SplitBy
    parts: list[list[TextSource]]
    splits: list[tuple[str, ...]]

    @property
    def files(self) -> dict[str, int]:
        """Number of files of each split; empty unless the text is split by file."""
        if self.split_by != "file":
            return {}
        return {split: len(part) for (split,), part in zip(self.splits, self.parts, strict=True)}


def plan_splits(
    corpus: ResolvedSources,
    separate: Mapping[str, Sequence[TextSource]],
    config: Config,
) -> SplitPlan:
    """Share the sources of a corpus among its splits.

    Args:
        corpus: Its sources, and its splits if it has some by convention.
        separate: Split -> sources that were given for it.
        config: Decides how the text is split.

    Raises:
        DataError: There are too few files, lines or characters.
    """
    sources = corpus.sources
    split_by: SplitBy = "position"
    if config.split_by != "auto":
        split_by = config.split_by
    elif corpus.splits and config.split_ratios == Config().split_ratios:
        split_by = "corpus"
    elif len(sources) >= MIN_FILES:
        split_by = "file"
    shared = shared_splits(separate)
    parts: dict[tuple[str, ...], list[TextSource]]
    if split_by == "corpus":
        by_split = {**corpus.splits, **separate}
        parts = {(split,): list(by_split[split]) for split in SPLITS}
    elif split_by == "position":
        parts = {shared: list(sources)}
        parts |= {(split,): list(part) for split, part in separate.items()}
    else:
        shares = list(accumulate(split_shares(config, shared).values()))
        if split_by == "file":
            pieces = _split_files(sources, shares)
        else:
            lines = split_lines(sources, shares, config.vocab == "bytes")
            pieces = [[piece] for piece in lines]
        by_split = {**dict(zip(shared, pieces, strict=True)), **separate}
        parts = {(split,): list(by_split[split]) for split in SPLITS}
    if config.test_chars and ("test",) in parts:
        parts["test",] = _cut_evenly(parts["test",], config.test_chars)
    return SplitPlan(split_by, list(parts.values()), list(parts))


def shared_splits(separate: Collection[str]) -> tuple[str, ...]:
    """Return the splits that are part of the corpus, without those that were given."""
    return tuple(split for split in SPLITS if split not in separate)


def split_shares(config: Config, shared: Sequence[str]) -> dict[str, Fraction]:
    """Return the share of each of these splits; their sum is 1."""
    ratios = dict(zip(SPLITS, parse_split_ratios(config.split_ratios), strict=True))
    total = sum(ratios[split] for split in shared)
    return {split: ratios[split] / total for split in shared}


def vocabulary_rule(
    config: Config, split_by: SplitBy, first_tokens: tuple[int, ...] = ()
) -> VocabularyRule:
    """Return the rule that chooses the vocabulary of a text in characters."""
    share = Fraction(1)
    if split_by == "position":
        given = {"valid": config.valid_file, "test": config.test_file}
        shared = shared_splits({split for split, file in given.items() if file})
        share = split_shares(config, shared)["train"]
    return VocabularyRule(str(share), config.min_char_frequency, first_tokens)


def cut_splits(
    encoding: EncodedText, plan: SplitPlan, config: Config
) -> dict[str, tuple[int, int]]:
    """Return first and one past last token of each split, cut between characters."""
    splits: dict[str, tuple[int, int]] = {}
    start = 0
    for names, sources in zip(plan.splits, encoding.metadata.sources, strict=True):
        end = start + sum(sources)
        length = end - start
        if config.vocab == "bytes":
            characters, _ = encoding.count_characters_and_bytes(start, end, "bytes")
            length = length if characters is None else characters
        shares = accumulate(split_shares(config, names).values(), initial=Fraction(0))
        edges = [
            encoding.token_offset(int(length * share), config.vocab, start) for share in shares
        ]
        splits |= dict(zip(names, pairwise(edges), strict=True))
        start = end
    if config.test_chars and ("test",) not in plan.splits:  # else its files were cut
        first, end = splits["test"]
        last = encoding.token_offset(config.test_chars, config.vocab, first)
        splits["test"] = (first, min(end, last))
    return splits


def _split_files(
    sources: Sequence[TextSource], shares: Sequence[Fraction]
) -> list[list[TextSource]]:
    """Return the files of each split in the order of hashes of their relative paths.

    The hash of a file decides alone, so no file moves when another is added.
    """
    hashed = sorted(((_path_hash(source), source) for source in sources), key=lambda pair: pair[0])
    edges = [Fraction(0), *shares]
    return [
        [source for value, source in hashed if start <= Fraction(value, HASHES) < end]
        for start, end in pairwise(edges)
    ]


def _path_hash(source: TextSource, purpose: bytes = b"") -> int:
    digest = hashlib.sha256(SALT + purpose + os.fsencode(source.path)).digest()
    return int.from_bytes(digest[:8], "big")


def _cut_evenly(sources: Sequence[TextSource], characters: int) -> list[TextSource]:
    """Return excerpts of sources, none longer than what lets all have this total.

    The hash of a path decides where in its file an excerpt begins. Beginnings would not do: with
    licences, imports and introductions they are unlike the rest.
    """
    lengths = [sum(int(_starts(chunk).sum()) for chunk in source.chunks()) for source in sources]
    remaining, level = characters, 0
    for done, length in enumerate(sorted(lengths)):
        level = remaining // (len(lengths) - done)
        if length > level:
            break
        remaining -= length
        level = length
    return [
        _excerpt(source, length, level) if length > level else source
        for source, length in zip(sources, lengths, strict=True)
    ]


def _excerpt(source: TextSource, length: int, characters: int) -> TextSource:
    """Return so many of the `length` characters of a source."""
    start = _path_hash(source, b"excerpt") % (length - characters + 1)
    return source.excerpt(_byte_offset(source, start), _byte_offset(source, start + characters))


def _byte_offset(source: TextSource, characters: int) -> int:
    """Return how many bytes the first characters of a source are."""
    read = 0
    for chunk in source.chunks():
        starts = np.flatnonzero(_starts(chunk))
        if len(starts) > characters:
            return read + int(starts[characters])
        characters -= len(starts)
        read += len(chunk)
    return read


def _starts(chunk: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which bytes start a UTF-8 character: all but continuation bytes 10xxxxxx."""
    return (np.frombuffer(chunk, np.uint8) & 0xC0) != 0x80


def too_short_error(
    plan: SplitPlan, split: str, name: str, config: Config, has_only_cr: bool
) -> DataError:
    """Return the error of a text with too little for a split."""
    if plan.split_by == "file":
        files = sum(map(len, plan.parts))
        problem = f"{name} has {files:,} files, and too few characters fall to {split}"
        advice = "Try more files, other --split-ratios or --split-by position"
    elif plan.split_by == "line":
        problem = f"too few lines of {name} fall to {split}"
        advice = "Try more lines, or --split-by position"
        if has_only_cr:
            problem += ", as it ends lines with CR alone"
            advice = r"Try to convert it by tr '\r' '\n'"
    else:
        problem = f"{name} is too short to cut into {config.split_ratios} ({split} would be empty)"
        advice = "Try more text"
    return DataError(f"cannot split the text: {problem}. {advice}")
