"""Corpus: an encoded text with its splits and the vocabulary of its training split."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from charlm.config import Config, parse_split_ratios
from charlm.data.encoded_text import EncodedText, encode, load_cached
from charlm.data.sources import absolute_name, make_paths_absolute, resolve_sources
from charlm.data.vocabulary import BYTE_VOCABULARY, TokenIds, Vocabulary, VocabularyKind
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.progress import NoProgress, Progress
from charlm.results.text import CorpusRecord

SPLITS = ("train", "valid", "test")
SETTINGS = ("glob", "vocab", "split_ratios", "valid_file", "test_file")  # of Config
READING = "reading the text"  # what progress shows
Sources = str | Path | Sequence[str | Path]


class Corpus:
    """Encoded text, its splits and its vocabulary.

    Attributes:
        record: Sources, SHA-256 and splits; stored with a run.
        encoding: Ids of the whole text.
        vocabulary: Tokens of the training split.
        settings: Fields of the config that decided encoding and splits, paths absolute.
    """

    def __init__(self, record: CorpusRecord, encoding: EncodedText, config: Config) -> None:
        """Create a corpus that was read as `config` says."""
        self.record = record
        self.encoding = encoding
        self.settings: dict[str, str] = make_paths_absolute(
            {name: getattr(config, name) for name in SETTINGS}
        )
        self.vocabulary = BYTE_VOCABULARY
        if config.vocab == "chars":  # ids follow first appearance: the tokens of train come first
            train_end = record.splits["train"][1]
            in_train = np.array(encoding.metadata.first_positions) < train_end
            tokens = encoding.metadata.tokens[: int(in_train.sum())]
            self.vocabulary = Vocabulary("chars", tokens)

    def split(self, name: str) -> TokenIds:
        """Return the ids of a split, (length,); ids >= `vocabulary.unk_id` are unknown."""
        start, end = self.record.splits[name]
        return self.encoding.ids[start:end]


def load_corpus(
    sources: Sources, config: Config | None = None, progress: Progress = NoProgress()
) -> Corpus:
    """Read, encode and split a text.

    The encoding is cached on disk under the hash of the text.

    Args:
        sources: Files (also .gz, .bz2, .xz), directories, "-" for standard input, or names of
            built-in corpora; concatenated in this order.
        config: Decides glob, vocabulary and splits; default: `Config()`.
        progress: Receives the number of bytes read.

    Raises:
        InputNotFoundError: A source does not exist or cannot be read.
        DataError: The text is not UTF-8 (unless `config.vocab` is "bytes") or too short.
        ConfigError: Standard input is given as a validation or test file.
    """
    config = config or Config()
    names = _source_names(sources)
    split_files = {"valid": config.valid_file, "test": config.test_file}
    separate = {name: file for name, file in split_files.items() if file}
    if "-" in separate.values():
        raise ConfigError(
            "cannot read --valid-file or --test-file from standard input: "
            "it is for the corpus. Try a file"
        )
    parts = [resolve_sources(names, config.glob)]
    parts += [resolve_sources([file], config.glob) for file in separate.values()]
    with progress.counter(READING) as count:
        encoding = encode(parts, _fixed_vocabulary(config.vocab), count)
    if not encoding.size:
        raise DataError(f"cannot learn from this text: {' '.join(names)} is empty. Try another")
    splits = _split(encoding, config, separate, " ".join(names))
    metadata = encoding.metadata
    record = CorpusRecord(
        sources=tuple(map(absolute_name, names)),
        digest=metadata.digest,
        characters=metadata.characters,
        splits=splits,
        notes=metadata.notes,
    )
    return Corpus(record, encoding, config)


def reload_corpus(
    config: Config,
    record: CorpusRecord,
    sources: Sources = (),
    progress: Progress = NoProgress(),
) -> Corpus:
    """Load the corpus of a run: from the cache, or else from its sources.

    Args:
        config: Config of the run.
        record: Corpus record of the run.
        sources: Where the text is now, if it was moved; default: where the run found it.
        progress: Receives the number of bytes read.

    Raises:
        InputNotFoundError: The text cannot be found.
        DataError: The text is not the text of the run.
    """
    names = _source_names(sources)
    cached = None if names else load_cached(record.digest, _fixed_vocabulary(config.vocab))
    if cached:
        return Corpus(record, cached, config)
    if not names and "-" in record.sources:
        raise InputNotFoundError(
            "cannot find the text of the run: it came from standard input. "
            "Try to pipe the same text in again"
        )
    corpus = load_corpus(names or record.sources, config, progress)
    if corpus.record.digest != record.digest:
        raise DataError(
            f"cannot use {' '.join(names or record.sources)}: it is not the text of the run "
            f"(SHA-256 {corpus.record.digest.sha256[:12]}…, of the run "
            f"{record.digest.sha256[:12]}…). Try the text that the run read"
        )
    return Corpus(record, corpus.encoding, config)


def _source_names(sources: Sources) -> list[str]:
    return [str(sources)] if isinstance(sources, str | Path) else [str(name) for name in sources]


def _fixed_vocabulary(kind: VocabularyKind) -> Vocabulary | None:
    return BYTE_VOCABULARY if kind == "bytes" else None


def _split(
    encoding: EncodedText, config: Config, separate: dict[str, str], name: str
) -> dict[str, tuple[int, int]]:
    """Return first and one past last token of each split.

    The corpus comes first in the ids, then the separate files. The corpus is shared among the
    splits that are not separate files, in proportion to their ratios, cut between characters.
    """
    corpus_tokens, *separate_tokens = encoding.metadata.parts
    length: int | None = corpus_tokens
    if config.vocab == "bytes":
        length, _ = encoding.count_characters_and_bytes(0, corpus_tokens, "bytes")
    if length is None:  # not UTF-8: cut in bytes
        length = corpus_tokens
    ratios = dict(zip(SPLITS, parse_split_ratios(config.split_ratios), strict=True))
    shared = [split for split in SPLITS if split not in separate]
    total = sum(ratios[split] for split in shared)
    fractions = accumulate((ratios[split] / total for split in shared), initial=Fraction(0))
    edges = [encoding.token_offset(int(length * share), config.vocab) for share in fractions]
    splits = dict(zip(shared, pairwise(edges), strict=True))
    edges = list(accumulate(separate_tokens, initial=corpus_tokens))
    splits |= dict(zip(separate, pairwise(edges), strict=True))
    for split, (start, end) in splits.items():
        if split in separate and end == start:
            raise DataError(f"cannot score {split}: {separate[split]} is empty. Try another file")
        if end - start < 1 + (split == "train"):
            raise DataError(
                f"cannot split the text: {name} has {length:,} characters: too few to cut into "
                f"{config.split_ratios} for {', '.join(shared)} ({split} would have "
                f"{end - start}). Try more text"
            )
    return splits
