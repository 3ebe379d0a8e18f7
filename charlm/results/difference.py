"""Difference of two runs on one text: `charlm diff`.

Differences are bits of run A less bits of run B. Above zero, B predicts better.
"""

import msgspec

from charlm.results.text import TextNote, UnitKind


class DifferenceSide(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the two runs, and its exact score."""

    run: str  # name of the run
    cell: str
    vocabulary_kind: str  # "chars" or "bytes"
    weights_sha256: str
    bits_per_char: float  # of a text that is not UTF-8: per byte
    unknown_characters: int  # of the text, which the vocabulary lacks


class CharacterDifference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A character of the text, and its bits to both runs."""

    character: str  # a byte that is not UTF-8 is written \xNN
    bits_a: float  # to run A
    bits_b: float  # to run B


class GroupDifference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Difference of the runs on some of the characters."""

    name: str  # such as a class of characters
    characters: int
    bits_a: float | None  # per character of them; None if there are none
    bits_b: float | None  # the same of run B
    difference: float | None  # per character of them
    contribution: float  # to the difference on the whole text, in bits per character of it


class PassageDifference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passage on which one run needs many more bits than the other."""

    position: int  # of its first character in the text, from 0
    before: str  # characters before it
    after: str  # characters after it
    difference: float  # bits of all of it
    characters: tuple[CharacterDifference, ...]


class TextPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the equal parts of the text, in its order."""

    start: int  # position of its first character
    difference: float  # bits per character of it


class RunDifference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of `charlm diff`: where run A needs more bits than run B, and where fewer."""

    a: DifferenceSide
    b: DifferenceSide
    split: str | None  # None for another text
    text_sha256: str  # of exactly the scored bytes
    characters: int  # of a text that is not UTF-8: bytes
    difference: float  # bits per character, A less B
    low: float | None  # 95 % interval over units of text; None if these are too few
    high: float | None  # its upper end
    unit_kind: UnitKind  # what is resampled
    units: int  # number of these
    a_better: float  # share of characters that A predicts better
    unknown_contribution: float  # part of the difference: characters that a vocabulary lacks
    by_class: tuple[GroupDifference, ...]  # every character is in one of them
    by_word_position: tuple[GroupDifference, ...]  # letters alone
    by_distance: tuple[GroupDifference, ...]  # letters, by how far back their word was read before
    parts: tuple[TextPart, ...]
    a_loses: tuple[PassageDifference, ...]  # largest first
    b_loses: tuple[PassageDifference, ...]
    notes: tuple[TextNote, ...]  # oddities of another text than a split
