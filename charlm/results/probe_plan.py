"""Plan of a probing: what it would measure, and what that takes."""

import msgspec


class PlannedProbe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A probe of a run, and what remains of it."""

    run: str  # name of the run
    cell: str
    probe: str  # name of the probe
    is_done: bool  # whether its result is in the directory
    cpu_seconds: float  # remaining
    disk_bytes: int  # still to be written


class ProbeEstimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of `charlm probe --dry-run`."""

    format: int
    split: str  # of the text that would be read
    characters: int  # tokens of it
    device: str
    out: str  # directory of the results
    parallel_runs: int  # runs side by side
    probes: tuple[PlannedProbe, ...]
    seconds: float  # until the last one ends
    cpu_seconds: float  # of all processes
    disk_bytes: int  # still to be written
    available_disk_bytes: int  # free where the results would be
