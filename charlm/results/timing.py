"""Timing of a comparison: `timing.json`."""

import msgspec


class CellTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wall-clock times of an entry, mean over its finished runs."""

    seconds_per_million: float | None  # seconds of optimizer steps per million characters
    minutes: float | None  # of optimizer steps of a run


class CpuBreakdown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CPU seconds of a comparison, by purpose."""

    judged_updates: float  # steps of the runs that are judged, with logging, without branches
    branches: float  # decayed copies at parts of the budget
    looks: float  # validations
    scores: float  # of the test split
    bracket: float  # runs at other learning rates, whole
    trials: float  # of tuning, whole
    transformer: float  # its runs, whole
    probes: float  # of memory
    start_up: float  # of the processes of judged runs, and what else they did
    workers: float  # the process that workers are forked from, and workers that no other line has
    command: float  # the process of the command itself: text, planning, baselines, statistics

    @property
    def total(self) -> float:
        """Sum of all."""
        return sum(getattr(self, name) for name in self.__struct_fields__)

    @property
    def judged_share(self) -> float:
        """Share of optimizer steps of the runs that are judged."""
        return self.judged_updates / self.total

    @property
    def judged_share_with_branches(self) -> float:
        """The same with the decayed copies of these runs, and their validation."""
        return (self.judged_updates + self.branches) / self.total


class TimingReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`timing.json`: everything that a clock decides, apart from the reproducible report."""

    format: int
    command: str
    cells: dict[str, CellTiming]
    cpu: CpuBreakdown | None = None  # None for existing runs and tasks
    judged_share: float | None = None  # of all CPU seconds, in updates of judged runs
    judged_share_with_branches: float | None = None  # the same with their branches
