"""Limits of probes: notes on a result, and reasons why there is none."""

from typing import Literal

import msgspec

from charlm.results.values import Count


class NoPlaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Lengths of context for which the text has no place."""

    lengths: tuple[Count, ...]  # characters of true context


class PlacesLeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Places before which there are fewer than two words, so that nothing can be shuffled."""

    left_out: Count  # number of places
    total: Count  # number of places that were drawn
    window: Count  # characters before a place that are shuffled


class CountedAtEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """N-grams or words that were counted on the end of a long training text only."""

    counted: Literal["n-grams", "words"]  # what was counted
    characters: Count  # at the end of the training text


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

    layer: Count  # from 1


class ShareKept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The share of the state that a layer keeps, by its cell."""

    layer: Count  # from 1
    expression: str  # in the notation of the cell


class ConstantUnits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Units of a layer that never change."""

    layer: Count  # from 1
    units: Count  # number of these units


class Projected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A state of more numbers than a readout has features, projected on random directions."""

    numbers: Count  # of the state
    features: Count  # of the readout


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
    | Projected
)


class TextTooShort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text that is too short for a probe."""

    text: Literal["probed", "training", "document"]  # which text; the longest document of it
    characters: Count  # tokens of the text
    needed: Count  # tokens


class TooFewPlaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text with too few places that a probe could measure."""

    places: Count  # that could be measured
    needed: Count  # number of places


class PlacesTooClose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Places so close together that a readout has too few to fit on, to stop by or to score."""

    places: Count  # of the smallest of these three parts
    needed: Count  # number of places


class TooFewWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Places that follow two words are too few: nothing can be shuffled before the others."""

    places: Count  # that follow two words
    total: Count  # that were drawn
    window: Count  # characters in which there must be two words


class NoRepeatedWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text in which too few rare words come again at the distance in question."""

    words: Count  # that come again
    needed: Count  # number of such words
    nearest: Count  # smallest distance, in characters
    farthest: Count  # largest distance, in characters


class TooFewClosers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text that closes too few brackets."""

    closers: Count  # closing brackets with their openers
    needed: Count  # number of closers


class TooFewLetters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A training text with too few different letters to make names of."""

    letters: Count  # different ones
    needed: Count  # number of letters


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
    | PlacesTooClose
    | TooFewWords
    | NoRepeatedWords
    | TooFewClosers
    | TooFewLetters
    | NoSeparator
    | NotAccessible
    | NoGradient
    | NotFinite
)
