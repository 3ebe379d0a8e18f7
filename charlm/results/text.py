"""Identity, encoding and splits of a text."""

import sys
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from charlm.results.values import Count, Number, OptionalSha256, Sha256

MAX_SOURCES, MAX_NAME_LENGTH = 1000, 4096  # of a text; a system takes no longer paths
UNICODE_CODE_POINTS = 0x110000  # 1,114,112 possible values of a character
SourceNames = Annotated[
    tuple[Annotated[str, Meta(max_length=MAX_NAME_LENGTH)], ...], Meta(max_length=MAX_SOURCES)
]
SplitBy = Literal["position", "file", "line", "corpus"]
UnitKind = Literal["file", "line", "block"]
SourceOddity = Literal["bom", "crlf", "cr", "glued", "not_utf8", "no_text"]
SplitOddity = Literal["verbatim", "verbatim_unmeasured", "unlike_train", "independent_lines"]
TextOddity = Literal[SourceOddity, SplitOddity, "left_out", "unseen"]
LeftOut = Literal["archive", "compressed", "binary", "encoding", "empty", "hidden"]


def check_code_points(tokens: tuple[int, ...]) -> None:
    """Raise ValueError unless the tokens of a vocabulary are different Unicode characters."""
    if len(set(tokens)) < len(tokens):
        raise ValueError("a vocabulary has a token twice")
    if not all(0 <= token <= sys.maxunicode and not 0xD800 <= token < 0xE000 for token in tokens):
        raise ValueError("a vocabulary has a token that is not a Unicode character")


class TextNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An oddity of a text, which was kept unchanged.

    Of sources: a byte order mark, line ends CRLF or CR alone, no line end before the next file,
    bytes that are not UTF-8 or of another format. Of the test split: it stands verbatim in the
    training split, this is not measured, or it has other characters. Of the lines: they are
    independent items. Of a folder: files that were left out. Of a text that is scored with a run:
    characters that its vocabulary lacks.
    """

    kind: TextOddity  # which oddity
    source: str = ""  # name of the first file; empty: the whole text
    files: Count = 1  # with this oddity
    value: Number = 0.0  # verbatim: share of test; unlike_train: its bits by train; unseen: number
    reference: Number = 0.0  # unlike_train: its bits by its own unigram; unseen: all characters
    reason: LeftOut | None = None  # left_out: why
    compared: Literal["", "added", "lacking"] = ""  # with the text of the run, if another is scored
    characters: str = ""  # unseen: the most frequent ones


class TextDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of a text in the order in which it is read: that of its splits."""

    sha256: Sha256  # of all bytes, in order
    parts: tuple[Count, ...]  # bytes of each part: a split, or splits that are cut by position
    files_sha256: OptionalSha256 = (
        ""  # of the bytes of each file of each part; empty if a part is one file
    )


class VocabularyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rule that chooses the tokens of a vocabulary of characters."""

    train_share: str = "1"  # part of the first part of the text that is trained on: a fraction
    min_frequency: float = 0.0  # rarer characters of it are unknown
    first_tokens: tuple[int, ...] = ()  # that come first, whether the text has them or not


class EncodingMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`KEY.json` in the cache: an encoded text, whose ids are in `KEY.ids` next to it."""

    digest: TextDigest
    characters: int | None  # None if the bytes are not UTF-8
    tokens: tuple[int, ...]  # of the vocabulary, by id; the next id is the unknown token
    sources: tuple[tuple[int, ...], ...]  # ids of each source of each part
    unknown: int  # characters outside of the vocabulary
    id_bytes: int  # 1, 2 or 4 bytes per id
    ids_sha256: str  # of the file of ids
    notes: tuple[TextNote, ...]  # oddities that were kept unchanged


class TextNotes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`KEY.json` in the cache: what was noted about a text and its splits."""

    notes: tuple[TextNote, ...]


class SourceSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size of a file, or of the files of a folder that are looked at, on disk."""

    files: Count  # number of them
    bytes: Count  # of all of them, packed if they are compressed


class CorpusRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Corpus metadata stored with a run: sources, SHA-256, splits.

    It is used to reload the same text and to verify it.
    """

    sources: SourceNames  # absolute paths or names of built-in corpora
    digest: TextDigest
    characters: Count | None  # None if the bytes are not UTF-8
    split_by: SplitBy  # what a split is made of; corpus: a named corpus has splits of its own
    splits: dict[str, tuple[Count, Count]]  # name -> first token and one past the last
    files: dict[str, Count]  # split -> files in it; empty unless the text is split by file
    rare_characters: Count  # characters of the training split that are too rare for the vocabulary
    notes: tuple[TextNote, ...]  # oddities of the sources
    first_tokens: tuple[int, ...] = ()  # of a run whose weights were taken; first in the vocabulary
    sizes: dict[str, SourceSize] = {}  # of the files and folders: others are not read for the run

    def __post_init__(self) -> None:
        """Validate tokens and splits, since a run may come from another person."""
        check_code_points(self.first_tokens)
        if not self.sources:
            raise ValueError("a text has no source")
        if any("\0" in source for source in self.sources):
            raise ValueError("a source has a null character, which no path has")
        if (
            self.splits.keys() != {"train", "valid", "test"}
            or not self.files.keys() <= self.splits.keys()
        ):
            raise ValueError("a text has not the splits train, valid and test")
        end = 0  # of the split before
        for first, last in sorted(self.splits.values()):
            if not end <= first < last <= sum(self.digest.parts):
                raise ValueError("a split is empty, not in the text, or overlaps another")
            end = last


class GrammarChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the texts that a state of a grammar can produce."""

    text: str  # no other text of the state is a prefix of it
    probability: float  # in this state
    next_state: str  # state that follows
    agreeing_index: int = -1  # index of the character that agrees with the subject; -1: none


class AgreementRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`CORPUS.json` beside an artificial corpus: its grammar and its entropy."""

    distance: float  # mean number of characters between subject and verb
    seed: int  # seed of the random numbers
    bits_per_char: float  # entropy rate: optimum of every model
    bits_per_char_without_agreement: float  # optimum of a model that forgets the subject
    number_bits: float  # entropy of the grammatical number of a subject
    bits_per_sentence: float  # entropy of a sentence
    characters_per_sentence: float  # mean length of a sentence
    grammar: dict[str, tuple[GrammarChoice, ...]]  # state -> choices


class AgreementGap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Distance of a run from the optimum, on the whole sentences of its test split."""

    characters: int  # in whole sentences
    agreements: int  # agreeing characters among them
    bits_per_char: float  # of the run
    optimal_bits_here: float  # of these sentences, per character
    optimal_bits: float  # entropy rate of the grammar
    excess_bits: float  # per character: run minus optimum
    excess_bits_by_agreement: float  # the part of it that is due to agreeing characters
    bits_at_agreement: float  # excess per agreeing character
    number_bits: float  # the same for a model that forgets the subject
