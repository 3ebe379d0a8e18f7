"""TODO docstring."""

from typing import Literal

import msgspec


class ActivationTrace(msgspec.Struct, frozen=True):
    """A letter of a cell's equations, symbol by symbol."""

    letter: str
    says: str
    kind: Literal["gate", "signed"]  # from 0 to 1, or on both sides of 0
    values: list[float]


class UnitTrace(msgspec.Struct, frozen=True):
    """What a unit did; layers and units count from 1."""

    layer: int
    unit: int
    kept: float | None  # the share that it always keeps, where that is no gate's
    rows: list[ActivationTrace]


class LayerEquations(msgspec.Struct, frozen=True):
    """The layers of a kind, and their cell as it is written."""

    layers: list[int]
    written: str


class FeatureUnit(msgspec.Struct, frozen=True):
    """The unit that goes best with a landmark; layers and units count from 1."""

    feature: str
    layer: int
    unit: int
    letter: str
    selection_correlation: float  # its correlation where it was found
    heldout_correlation: float  # and elsewhere


class GateSaturation(msgspec.Struct, frozen=True):
    """The share of time that a gate of each unit is below 0.1, and above 0.9."""

    layer: int
    letter: str
    says: str
    low: list[float]
    high: list[float]


class UnitSurvey(msgspec.Struct, frozen=True):
    """What units do on longer texts."""

    symbols: dict[str, int]  # of each split
    trackers: list[FeatureUnit]
    absent: list[str]  # landmarks that one of the texts does not have
    saturation: list[GateSaturation]  # where trackers are found


class InspectionReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is to see."""

    run: str
    cell: str
    paper: str
    equations: list[LayerEquations]
    weights_sha256: str
    text: str  # where it is from
    kind: str  # of its symbols
    protocol: str
    symbols: list[str]
    unseen: list[bool]
    bits: list[float]  # what each symbol cost
    survey: UnitSurvey | None  # None: the run's held-out text is too short
    units: list[UnitTrace]
