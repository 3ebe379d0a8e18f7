"""Inspection report: bits per token, and activations of units and gates on a text."""

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


class FeatureUnit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The unit that correlates most with a feature of the text; layers and units count from 1."""

    feature: str  # of the text, such as an open bracket
    layer: int
    unit: int
    variable: str  # of the cell's equations
    selection_correlation: float  # on the validation split, where the unit was selected
    heldout_correlation: float  # on the test split


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


class InspectionReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of `charlm inspect`."""

    run: str  # name of the run
    cell: str
    citation: str  # of the cell
    equations: list[LayerEquations]
    weights_sha256: str
    text: InspectedText
    vocabulary_kind: str  # "chars" or "bytes"
    protocol: str  # "one-stream"
    tokens: list[str]  # a byte that is not ASCII is written \xNN
    is_unknown: list[bool]  # True for a token outside of the vocabulary
    bits: list[float]  # cost of each token
    survey: UnitSurvey | None  # None: a held-out split is too short
    units: list[UnitTrace]
