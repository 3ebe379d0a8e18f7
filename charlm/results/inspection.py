"""Inspection report: models on a text, their difference, and what a word in it changes."""

from typing import Literal

import msgspec


class InspectedText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Origin of the inspected text."""

    source: Literal["test", "file", "string"]  # "test": the run's test split
    path: str = ""  # of a file
    is_truncated: bool = False  # True if only its beginning was read


class ActivationTrace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variable of the cell's equations, token by token."""

    variable: str  # name in the equations, such as "f" or "1 - z"
    description: str  # such as "forget gate"
    kind: Literal["gate", "signed"]  # from 0 to 1, or of either sign
    values: list[float]  # one per token


class UnitTrace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State, gates and output of a unit; layers and units count from 1."""

    layer: int
    unit: int
    retention: float | None  # share of the state that is kept, where it is the same at every token
    traces: list[ActivationTrace]


class LayerEquations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Layers with the same kind of cell, and that cell's equations."""

    layers: list[int]  # counted from 1
    docstring: str  # of the cell, up to its parameters


class GateInEpisodes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Means of a gate where a feature of the text begins, while it lasts, and elsewhere."""

    variable: str  # of the cell's equations
    description: str  # of the gate
    at_start: float  # at the character of the episode where the unit changes
    inside: float | None  # at their other characters; None: each has one character
    outside: float  # at characters of no episode


class UnitEpisodes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A unit during the episodes of a feature, such as quotes, on the test split."""

    episodes: int  # number of them
    median_length: float  # characters of an episode
    delay: int  # characters after the first at which it changes most: 0 or 1
    change_at_start: float  # mean change of the variable up to there, in standard deviations
    change_error: float  # standard error of that mean
    median_hold: float  # characters from there on for which it stays on its side of the midpoint
    gates: list[GateInEpisodes]


class FeatureUnit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The unit that correlates most with a feature of the text; layers and units count from 1."""

    feature: str  # of the text, such as an open bracket
    layer: int
    unit: int
    variable: str  # of the cell's equations
    selection_correlation: float  # on the validation split, where the unit was selected
    heldout_correlation: float  # on the test split
    in_episodes: UnitEpisodes | None = None  # None: too few, or the feature has no beginning


class GateSaturation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Share of tokens at which a gate is closed (below 0.1) or open (above 0.9), per unit."""

    layer: int
    variable: str  # of the cell's equations
    description: str  # of the gate
    closed: list[float]  # per unit, fraction of time below 0.1
    open: list[float]  # per unit, fraction of time above 0.9


class UnitSurvey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Units of all layers on the validation and the test split."""

    tokens: dict[str, int]  # length of each split, as far as it was read
    feature_units: list[FeatureUnit]
    missing_features: list[str]  # constant on one of the two splits
    unfollowed_features: list[str]  # no unit has a correlation of 0.2 on the validation split
    saturation: list[GateSaturation]  # on the validation split


class InspectedModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model on a text: the cost of each token, and its units."""

    run: str  # name of the run
    cell: str
    citation: str  # of the cell
    equations: list[LayerEquations]
    weights_sha256: str
    vocabulary_kind: str  # "chars" or "bytes"
    tokens: list[str]  # a byte that is not ASCII is written \xNN
    is_unknown: list[bool]  # True for a token outside of the vocabulary
    bits: list[float]  # cost of each token
    survey: UnitSurvey | None  # None: a held-out split is too short
    units: list[UnitTrace]


class WordDifference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost of a word to both models."""

    word: str  # or white space, or a single other character
    start: int  # index of its first character
    bits: float  # to the run
    other_bits: float  # to the other run
    is_unknown: bool  # True if one of the models does not know one of its characters


class ModelComparison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second model on the same text, compared character by character."""

    other: InspectedModel
    characters: list[str]  # of the text; a byte that is no part of one is written \xNN
    bits: list[float]  # cost of each character to the run; of bytes: their sum
    other_bits: list[float]  # the same of the other run
    words: list[WordDifference]  # that differ most, the largest difference first
    has_same_splits: bool  # whether both were trained on the same split of the same text


class DependentCharacter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A character that costs more without the word."""

    index: int  # in the text, from 0
    character: str  # itself
    change: float  # bits more
    error: float  # standard error over the replacements


class ChangeByDistance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change of the characters at a range of distances behind the word."""

    first: int  # 1: the character right behind it
    last: int  # the range ends with it
    change: float  # bits more, of all of them
    error: float  # standard error over the replacements


class ModelChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost of the text to a model without the word, less the cost with it."""

    run: str  # name of the run
    change: float  # bits more, of all characters behind the word
    error: float  # standard error over the replacements
    changes: list[float]  # bits more of each character; 0 up to the end of the word
    errors: list[float]  # standard error of each, over the replacements
    by_distance: list[ChangeByDistance]
    num_dependent: int  # characters that cost at least 0.1 bits and 3 standard errors more
    characters: list[DependentCharacter]  # of them the 12 with the largest change, it first


class BlankedWord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A word of the text that was replaced, and what that changes behind it."""

    word: str  # that was replaced
    start: int  # index of its first character
    end: int  # index of the first character behind it
    occurrence: int  # which one was replaced, counted from 1
    occurrences: int  # of the word in the text
    replaced_by: Literal["words", "passages"]  # of its form, or any of its length
    replacements: list[str]  # from the training text of the run
    characters: list[str]  # of the text
    models: list[ModelChange]


class InspectionReport(InspectedModel, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of `charlm inspect`."""

    text: InspectedText
    protocol: str  # "one-stream"; with documents "by-document"
    comparison: ModelComparison | None = None  # with a second run
    blanked: BlankedWord | None = None  # with --blank
