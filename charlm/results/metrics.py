"""Metrics of runs as scalars: results of `charlm metrics`."""

import msgspec


class Scalar(msgspec.Struct, frozen=True):
    """A measured number of a run at a step."""

    tag: str  # name, such as train/bits
    step: int  # optimizer steps done
    characters: int  # tokens read so far
    value: float  # of the quantity at this step
    time: float | None  # seconds since the epoch; None where no time was recorded


class RunScalars(msgspec.Struct, frozen=True, kw_only=True):
    """All scalars of a run."""

    run: str  # its directory, relative to the directory that was searched
    settings: dict[str, str]  # of the run, as text
    started: float | None  # seconds since the epoch; None if it was not recorded
    scalars: tuple[Scalar, ...]  # in the order in which they were measured


class RunsMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm metrics`."""

    runs: tuple[RunScalars, ...]


class EventFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm metrics --tensorboard`."""

    out: str  # directory that was written
    runs: tuple[str, ...]  # a directory in it for each run
    scalars: int  # number of all runs
