"""Corpus: an encoded text with its splits and the vocabulary of its training split."""

from collections.abc import Sequence
from pathlib import Path

from charlm.config import Config
from charlm.data.documents import check_documents
from charlm.data.encoded_text import EncodedText, digest_sources, encode, load_cached
from charlm.data.names import printable, printable_names
from charlm.data.recorded import measure_sources, resolve_run_sources
from charlm.data.sources import SPLITS, absolute_name, make_paths_absolute, resolve_sources
from charlm.data.splits import (
    cut_splits,
    plan_splits,
    too_short_error,
    vocabulary_rule,
)
from charlm.data.stored_ids import StoredIds
from charlm.data.units import Edges, Units, text_units
from charlm.data.vocabulary import BYTE_VOCABULARY, TokenIds, Vocabulary
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.progress import NoProgress, Progress
from charlm.results.text import (
    MAX_NAME_LENGTH,
    MAX_SOURCES,
    CorpusRecord,
    SplitBy,
    TextDigest,
    UnitKind,
    VocabularyRule,
)

SETTINGS = (  # of Config
    *("glob", "vocab", "split_ratios", "split_by", "test_chars", "min_char_frequency"),
    *("valid_file", "test_file", "documents"),
)
READING = "reading the text"  # what progress shows
Sources = str | Path | Sequence[str | Path]


class Corpus:
    """Encoded text, its splits and its vocabulary.

    Attributes:
        record: Sources, SHA-256 and splits; stored with a run.
        encoding: Ids of the whole text.
        vocabulary: Tokens of the training split that are not too rare.
        settings: Fields of the config that decided encoding and splits, paths absolute.
    """

    def __init__(self, record: CorpusRecord, encoding: EncodedText, config: Config) -> None:
        """Create a corpus that was read as `config` says."""
        self.record = record
        self.encoding = encoding
        self.settings: dict[str, str | int | float] = make_paths_absolute(
            {name: getattr(config, name) for name in SETTINGS}
        )
        self.vocabulary = BYTE_VOCABULARY
        if config.vocab == "chars":
            self.vocabulary = Vocabulary("chars", encoding.metadata.tokens)
        encoding.mark_documents(config.documents, self.vocabulary)

    def split(self, name: str) -> TokenIds:
        """Return the ids of a split, (length,); an unknown character is `vocabulary.unk_id`."""
        start, end = self.record.splits[name]
        return self.encoding.ids[start:end]

    def stored_split(self, name: str) -> StoredIds:
        """Return the ids of a split, (length,), of which only what is sliced is read."""
        return self.encoding.ids.span(*self.record.splits[name])

    def units(self, split: str, length: int | None = None) -> Units:
        """Return the units of a split that are resampled for an interval.

        Args:
            split: Name of the split.
            length: Tokens that are read, from its beginning; None: all. Blocks and groups of lines
                are units of these tokens, files are always those of the split.
        """
        start, end = self.record.splits[split]
        by_line = self.record.split_by == "line"
        units = text_units(self.encoding, (start, end), by_line)
        if length is None or units.kind == "file":
            return units
        return text_units(self.encoding, (start, min(end, start + length)), by_line)

    def unit_edges(self, split: str) -> Edges:
        """Return the edges of the units of a split, (units + 1,), from 0 to its length."""
        return self.units(split).edges

    def unit_kind(self, split: str) -> UnitKind:
        """Return what the units of a split are."""
        return self.units(split).kind


def load_corpus(
    sources: Sources,
    config: Config | None = None,
    progress: Progress = NoProgress(),
    *,
    first_tokens: tuple[int, ...] = (),
) -> Corpus:
    """Read, encode and split a text.

    The encoding is cached on disk under the hash of the text.

    Args:
        sources: Files (also .gz, .bz2, .xz), directories, "-" for standard input, or names of
            corpora; concatenated in this order. A corpus with conventional splits keeps them if
            it is alone and `config` leaves the splits to charlm.
        config: Decides glob, vocabulary and splits; default: `Config()`. Split by file or line,
            the text is read in the order of its splits.
        progress: Receives the number of bytes read.
        first_tokens: Code points with which the vocabulary begins, whether the text has them or
            not: those of a run whose weights are taken.

    Raises:
        InputNotFoundError: A source does not exist or cannot be read.
        DataError: The text is not UTF-8 (unless `config.vocab` is "bytes"), too short, or without
            the documents that `config` wants.
        ConfigError: Standard input is given as a validation or test file, or there are too many
            sources.
    """
    config = config or Config()
    names = _source_names(sources)
    recorded = tuple(map(absolute_name, names))
    if len(names) > MAX_SOURCES or any(len(name) > MAX_NAME_LENGTH for name in recorded):
        raise ConfigError(
            f"cannot read {len(names):,} sources: a run records at most {MAX_SOURCES:,}, each of "
            f"at most {MAX_NAME_LENGTH:,} characters. Try a folder, with --glob for some files"
        )
    split_files = {"valid": config.valid_file, "test": config.test_file}
    separate = {name: file for name, file in split_files.items() if file}
    if "-" in separate.values():
        raise ConfigError(
            "cannot read --valid-file or --test-file from standard input: "
            "it is for the corpus. Try a file"
        )
    given = {split: resolve_sources([file], config.glob) for split, file in separate.items()}
    resolved = resolve_sources(names, config.glob, config.vocab)
    plan = plan_splits(resolved, {split: one.sources for split, one in given.items()}, config)
    shown = "standard input" if names == ["-"] else printable_names(names)
    with progress.counter(READING) as count:
        encoding = encode(plan.parts, _vocabulary(config, plan.split_by, first_tokens), count)
    if not encoding.size:
        raise DataError(f"cannot learn from this text: {shown} is empty. Try another")
    splits = cut_splits(encoding, plan, config)
    for split, (start, end) in splits.items():
        if split in separate and end == start:
            raise DataError(
                f"cannot score {split}: {printable(separate[split])} is empty. Try another file"
            )
        if end - start < 1 + (split == "train"):
            has_only_cr = any(note.kind == "cr" for note in encoding.metadata.notes)
            raise too_short_error(plan, split, shown, config, has_only_cr)
    metadata = encoding.metadata
    left_out = (*resolved.notes, *(note for one in given.values() for note in one.notes))
    record = CorpusRecord(
        sources=recorded,
        digest=metadata.digest,
        characters=metadata.characters,
        split_by=plan.split_by,
        splits={split: splits[split] for split in SPLITS},
        files=plan.files,
        rare_characters=encoding.count_unknown(*splits["train"]),
        notes=(*metadata.notes, *left_out),
        first_tokens=first_tokens,
        sizes=measure_sources((*names, *separate.values()), config.glob),
    )
    corpus = Corpus(record, encoding, config)
    train = corpus.stored_split("train")
    check_documents(config.documents, train.documents, train, len(train))
    return corpus


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
    vocabulary = _vocabulary(config, record.split_by, record.first_tokens)
    cached = None if names else load_cached(record.digest, vocabulary)
    if cached:
        return Corpus(record, cached, config)
    if not names and "-" in record.sources:
        raise InputNotFoundError(
            "cannot find the text of the run: it came from standard input. "
            "Try to pipe the same text in again"
        )
    resolved, separate = resolve_run_sources(config, record, names)
    plan = plan_splits(resolved, separate, config)
    with progress.counter(READING) as count:
        digest = digest_sources(plan.parts, count)
        if digest != record.digest:  # nothing of another text is kept
            raise _other_text_error(names or record.sources, digest, record.digest)
        encoding = encode(plan.parts, vocabulary, count, digest)
    return Corpus(record, encoding, config)


def _other_text_error(names: Sequence[str], found: TextDigest, wanted: TextDigest) -> DataError:
    difference = f"SHA-256 {found.sha256[:12]}…, of the run {wanted.sha256[:12]}…"
    if found.sha256 == wanted.sha256:
        difference = "the same bytes in other files"
    return DataError(
        f"cannot use {printable_names(names)}: it is not the text of the run ({difference}). "
        "Try the text that the run read"
    )


def _source_names(sources: Sources) -> list[str]:
    return [str(sources)] if isinstance(sources, str | Path) else [str(name) for name in sources]


def _vocabulary(
    config: Config, split_by: SplitBy, first_tokens: tuple[int, ...]
) -> Vocabulary | VocabularyRule:
    if config.vocab == "bytes":
        return BYTE_VOCABULARY
    return vocabulary_rule(config, split_by, first_tokens)
