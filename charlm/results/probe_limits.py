"""Limits of probes: notes on a result, and reasons why there is none."""

from typing import Literal

import msgspec


class NoPlaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Lengths of context for which the text has no place."""

    lengths: tuple[int, ...]  # characters of true context


class PlacesLeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Places before which there are fewer than two words, so that nothing can be shuffled."""

    left_out: int  # number of places
    total: int  # number of places that were drawn
    window: int  # characters before a place that are shuffled


class CountedAtEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """N-grams or words that were counted on the end of a long training text only."""

    counted: Literal["n-grams", "words"]  # what was counted
    characters: int  # at the end of the training text


class NotCommensurable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Values relative to those of the same model at lag 0: two cells cannot be compared by them."""


class ConstantState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A state that is the same at all places, so that it has no gradient."""

    stage: Literal["trained", "untrained"]  # which model has it


class GradientOverflow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A curve that is not drawn where the gradient overflows."""

    curve: str  # name of the curve


class NoGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A layer without a gate that keeps the state."""

    layer: int  # from 1


class ShareKept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The share of the state that a layer keeps, by its cell."""

    layer: int  # from 1
    expression: str  # in the notation of the cell


class ConstantUnits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Units of a layer that never change."""

    layer: int  # from 1
    units: int  # number of these units


Note = (
    NoPlaces
    | PlacesLeftOut
    | CountedAtEnd
    | NotCommensurable
    | ConstantState
    | GradientOverflow
    | NoGate
    | ShareKept
    | ConstantUnits
)


class TextTooShort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text that is too short for a probe."""

    text: Literal["probed", "training"]  # which text
    characters: int  # tokens of the text
    needed: int  # tokens


class TooFewPlaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text with too few places that a probe could measure."""

    places: int  # that could be measured
    needed: int  # number of places


class TooFewWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Places that follow two words are too few: nothing can be shuffled before the others."""

    places: int  # that follow two words
    total: int  # that were drawn
    window: int  # characters in which there must be two words


class NoRepeatedWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text in which too few rare words come again at the distance in question."""

    words: int  # that come again
    needed: int  # number of such words
    nearest: int  # smallest distance, in characters
    farthest: int  # largest distance, in characters


class TooFewClosers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text that closes too few brackets."""

    closers: int  # closing brackets with their openers
    needed: int  # number of closers


class TooFewLetters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A training text with too few different letters to make names of."""

    letters: int  # different ones
    needed: int  # number of letters


class NoSeparator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A training text without a comma, or without a space, to separate names."""


class NotAccessible(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A model whose inside a probe cannot see."""

    part: Literal["cells", "gradients"]  # what cannot be seen


class NoGradient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A model whose loss or state has no gradient at lag 0."""

    source: Literal["loss", "state"]  # what has no gradient


class NotFinite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A model whose outputs are not finite, since its training diverged."""


NotApplicableReason = (
    TextTooShort
    | TooFewPlaces
    | TooFewWords
    | NoRepeatedWords
    | TooFewClosers
    | TooFewLetters
    | NoSeparator
    | NotAccessible
    | NoGradient
    | NotFinite
)
