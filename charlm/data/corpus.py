"""A text made ready: its splits, its alphabet from the training split, its batches."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from charlm.config import Config, parse_split_ratios
from charlm.data.encoded_text import EncodedText, encode, load_cached
from charlm.data.sources import absolute_name, resolve_sources
from charlm.data.vocabulary import BYTE_VOCABULARY, TokenIds, Vocabulary
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.progress import ProgressCallback
from charlm.results.text import CorpusRecord

SPLITS = ("train", "valid", "test")


class Corpus:
    """A text as ids, its alphabet and its splits."""

    def __init__(self, text: CorpusRecord, encoding: EncodedText, kind: str) -> None:
        self.record = text
        self.encoding = encoding
        self.vocabulary = BYTE_VOCABULARY
        if kind == "characters":  # ids are given as symbols appear: training's are the first ones
            seen = np.array(encoding.facts.first_positions) < text.splits["train"][1]
            self.vocabulary = Vocabulary("characters", encoding.facts.symbols[: int(seen.sum())])

    def split(self, name: str) -> TokenIds:
        """The ids of a split, (length,); an id that the alphabet has not was never trained."""
        start, end = self.record.splits[name]
        return self.encoding.ids[start:end]


def load_corpus(
    config: Config, names: Sequence[str], tick: ProgressCallback = lambda _: None
) -> Corpus:
    """The corpus of these sources, encoded and cut as the settings say."""
    kind = config.vocab
    given = {"valid": config.valid_file, "test": config.test_file}
    parts = [resolve_sources(names, config.glob)]
    if "-" in given.values():
        raise ConfigError(
            "--valid-file and --test-file are files: standard input is for the corpus"
        )
    parts += [resolve_sources([name], config.glob) for name in given.values() if name]
    encoding = encode(parts, _fixed_vocabulary(kind), tick)
    shown = " ".join(names)
    if not encoding.size:
        raise DataError(f"{shown} is empty: there is nothing to learn from")

    # The corpus itself comes first in the ids; it is shared among the splits not given as files.
    length = encoding.facts.parts[0]
    characters = (
        encoding.count_characters_and_bytes(0, length, kind)[0] if kind == "bytes" else length
    )
    count = length if characters is None else characters  # not UTF-8: cut in bytes
    share = dict(zip(SPLITS, parse_split_ratios(config.split_ratios), strict=True))
    own = [name for name in SPLITS if not given.get(name)]
    whole = sum(share[name] for name in own)
    splits: dict[str, tuple[int, int]] = {}
    end, cut = 0, Fraction(0)
    for name in own:
        cut += share[name]
        start, end = end, encoding.token_offset(int(count * cut / whole), kind)
        splits[name] = (start, end)
    for name, ids in zip(
        (n for n in SPLITS if n not in own), encoding.facts.parts[1:], strict=True
    ):
        splits[name] = (length, length + ids)
        length += ids
    for name, (start, end) in splits.items():
        if given.get(name) and end == start:
            raise DataError(f"{given[name]} is empty: there is nothing to score in it")
        if end - start < 1 + (name == "train"):
            raise DataError(
                f"{shown} has {count:,} characters: too few to cut into {config.split_ratios} for "
                f"{', '.join(own)} ({name} would have {end - start}). Give more text"
            )
    facts = encoding.facts
    recorded = tuple(map(absolute_name, names))
    text = CorpusRecord(recorded, facts.digest, facts.characters, splits, facts.notes)
    return Corpus(text, encoding, kind)


def reload_corpus(
    config: Config,
    text: CorpusRecord,
    names: Sequence[str] = (),
    tick: ProgressCallback = lambda _: None,
) -> Corpus:
    """The corpus of a run: from the cache, else from its sources or these names, if the same."""
    kept = None if names else load_cached(text.digest, _fixed_vocabulary(config.vocab))
    if kept:
        return Corpus(text, kept, config.vocab)
    if not names and "-" in text.sources:
        raise InputNotFoundError(
            "the run read standard input, which is gone: pipe the same text in again"
        )
    corpus = load_corpus(config, names or text.sources, tick)
    if corpus.record.digest != text.digest:
        raise DataError(
            f"{' '.join(names or text.sources)} is not the text of the run: its SHA-256 is "
            f"{corpus.record.digest.sha256[:12]}…, the run's {text.digest.sha256[:12]}…. "
            "Name the text that the run read"
        )
    return Corpus(text, corpus.encoding, config.vocab)


def _fixed_vocabulary(kind: str) -> Vocabulary | None:
    return BYTE_VOCABULARY if kind == "bytes" else None
