"""Timing of a comparison: `timing.json`."""

import msgspec

from charlm.results.values import Count, Number


class CellTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wall-clock times of an entry, mean over its finished runs."""

    seconds_per_million: Number | None  # seconds of optimizer steps per million characters
    minutes: Number | None  # of optimizer steps of a run


class CpuBreakdown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CPU seconds of a comparison, by purpose."""

    judged_updates: Number  # steps of the runs that are judged, with logging, without branches
    branches: Number  # decayed copies at parts of the budget
    looks: Number  # validations
    scores: Number  # of the test split
    bracket: Number  # runs at other learning rates, whole
    trials: Number  # of tuning, whole
    transformer: Number  # its runs, whole
    probes: Number  # of memory
    start_up: Number  # of the processes of judged runs, and what else they did
    workers: Number  # the process that workers are forked from, and workers that no other line has
    command: Number  # the process of the command itself: text, planning, baselines, statistics

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

    format: Count
    command: str
    cells: dict[str, CellTiming]
    cpu: CpuBreakdown | None = None  # None for existing runs and tasks
    judged_share: Number | None = None  # of all CPU seconds, in updates of judged runs
    judged_share_with_branches: Number | None = None  # the same with their branches
