"""Outcomes of runs that have ended: their records and reports."""

from collections.abc import Mapping, Sequence

import msgspec

from charlm.comparison.entries import Entry, PlannedRun
from charlm.results.run import RunRecord, RunReport, Score
from charlm.runs.run import Run


class RunOutcome(msgspec.Struct, frozen=True):
    """A run that has ended: its report, or None if it diverged."""

    planned: PlannedRun
    record: RunRecord
    report: RunReport | None

    @property
    def score(self) -> Score | None:
        """Its score; None if it diverged."""
        return self.report.score if self.report else None


Outcomes = Mapping[str, Sequence[RunOutcome]]  # entry -> one outcome per seed


def load_outcomes(entries: Sequence[Entry]) -> Outcomes:
    """Read the runs of entries, all of which have ended."""
    return {entry.name: [load_outcome(run) for run in entry.runs] for entry in entries}


def load_outcome(planned: PlannedRun) -> RunOutcome:
    """Read a run that has ended."""
    run = Run(planned.path)
    return RunOutcome(planned, run.record, run.report)
