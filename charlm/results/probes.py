"""TODO docstring."""

from collections.abc import Sequence

import msgspec
from torch import Tensor


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a figure: one y for each x; None where there is none, as too few were counted."""

    name: str = ""
    x: Sequence[float]
    y: Sequence[float | None]
    error: Sequence[float | None] | None = None  # the standard error of each
    count: Sequence[int] | None = None  # events behind each


class ScalarResult(msgspec.Struct, frozen=True, kw_only=True):
    """A single figure, with its interval if it has one; value None: beyond what was looked at."""

    name: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    note: str = ""  # such as "more than 4,096"
    run: str = ""  # whose it is, where a group's probe found it


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """A probe's answer for one run (or, of a group's probe, for all of them): a figure, or more."""

    title: str = ""  # where there are more
    x: str  # what the axes show, with units
    y: str
    log_x: bool = True
    log_y: bool = False
    chance: float | None = None  # on the y axis: what memory of nothing would give
    curves: Sequence[Curve] = ()  # all in one figure
    panels: Sequence["ProbeResult"] = ()  # figures of the same answer with other axes or curves
    numbers: Sequence[ScalarResult] = ()
    notes: Sequence[str] = ()  # what a reader must know to read the figure rightly
    # What a group's probe needs of each run, by name; kept in a file beside, never shown.
    artifacts: dict[str, Tensor] = {}
