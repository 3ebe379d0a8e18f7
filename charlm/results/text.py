"""Identity, encoding and splits of a text."""

from typing import Literal

import msgspec

TextOddity = Literal["bom", "crlf", "not_utf8"]


class TextNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An oddity of a source that was kept unchanged."""

    kind: TextOddity  # byte order mark, CRLF line ends, or bytes that are not UTF-8
    source: str  # name of the file


class TextDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of a text."""

    sha256: str  # of all bytes, in order
    parts: tuple[int, ...]  # bytes of the corpus and of each separate split file


class EncodingMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`KEY.json` in the cache: an encoded text, whose ids are in `KEY.ids` next to it."""

    digest: TextDigest
    characters: int | None  # None if the bytes are not UTF-8
    tokens: tuple[int, ...]  # by id: first a given vocabulary, then new ones as they appeared
    first_positions: tuple[int, ...]  # index of each token's first occurrence; -1 if it was given
    parts: tuple[int, ...]  # ids of the corpus and of each separate split file
    id_bytes: int  # 1, 2 or 4 bytes per id
    ids_sha256: str  # of the file of ids
    notes: tuple[TextNote, ...]  # oddities that were kept unchanged


class CorpusRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Corpus metadata stored with a run: sources, SHA-256, splits.

    It is used to reload the same text and to verify it.
    """

    sources: tuple[str, ...]  # absolute paths or names of built-in corpora
    digest: TextDigest
    characters: int | None  # None if the bytes are not UTF-8
    splits: dict[str, tuple[int, int]]  # name -> first token and one past the last
    notes: tuple[TextNote, ...]  # oddities that were kept unchanged


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
