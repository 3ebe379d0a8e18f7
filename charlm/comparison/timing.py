"""Timing of a comparison: how long runs took, and where the CPU seconds went."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from charlm.comparison.entries import Entry
from charlm.comparison.outcomes import Outcomes
from charlm.config import FORMAT_VERSION
from charlm.execution.forked_workers import worker_cpu_seconds
from charlm.results.probes import ProbesReport
from charlm.results.run import RunReport
from charlm.results.timing import CellTiming, CpuBreakdown, TimingReport
from charlm.results.training import CpuSeconds
from charlm.runs.run import Run, is_run


def build_timing_report(
    outcomes: Outcomes, command: str, cpu: CpuBreakdown | None = None
) -> TimingReport:
    """Return timing.json: how long runs took where they were made, and the command line."""
    return TimingReport(
        format=FORMAT_VERSION,
        command=command,
        cells={
            name: summarize_timing([run.report for run in runs if run.report])
            for name, runs in outcomes.items()
        },
        cpu=cpu,
        judged_share=cpu.judged_share if cpu else None,
        judged_share_with_branches=cpu.judged_share_with_branches if cpu else None,
    )


def summarize_timing(reports: Sequence[RunReport]) -> CellTiming:
    """Return the mean times of finished runs."""
    if not reports:
        return CellTiming(seconds_per_million=None, minutes=None)
    return CellTiming(
        seconds_per_million=fmean(1e6 / report.chars_per_second for report in reports),
        minutes=fmean(report.seconds for report in reports) / 60,
    )


def break_down_cpu(
    directory: Path, entries: Sequence[Entry], outcomes: Outcomes, probes: ProbesReport | None
) -> CpuBreakdown:
    """Return where the CPU seconds of a comparison went.

    What runs and probes did before an interruption counts; what the command and its workers did
    besides counts since its last start.

    Args:
        directory: Of the comparison.
        entries: All entries.
        outcomes: Entry -> its runs.
        probes: Report of the memory probes.
    """
    roles = {entry.name: entry.role for entry in entries}
    reports = {
        role: [
            outcome.report.cpu
            for name, runs in outcomes.items()
            for outcome in runs
            if roles[name] == role and outcome.report
        ]
        for role in ("cell", "transformer")
    }
    judged, transformer = _sum(reports["cell"]), _sum(reports["transformer"]).total
    bracket = _sum(_cpu_of(directory / "bracket")).total
    trials = _sum(_cpu_of(directory / "trials")).total
    probed = 0.0
    if probes:
        probed = sum(sum(summary.seconds.values()) for summary in probes.probes.values())
    known = judged.total + transformer + bracket + trials + probed
    return CpuBreakdown(
        judged_updates=judged.updates,
        branches=judged.branches,
        looks=judged.looks,
        scores=judged.score,
        bracket=bracket,
        trials=trials,
        transformer=transformer,
        probes=probed,
        start_up=judged.total - judged.updates - judged.branches - judged.looks - judged.score,
        workers=max(0.0, worker_cpu_seconds() - known),
        command=time.process_time(),
    )


def _cpu_of(directory: Path) -> list[CpuSeconds]:
    """Return the CPU seconds of all finished runs in a directory."""
    runs = [Run(path) for path in sorted(directory.glob("*")) if is_run(path)]
    return [report.cpu for run in runs if (report := run.report)]


def _sum(parts: Iterable[CpuSeconds]) -> CpuSeconds:
    """Return the sum, part by part."""
    known = list(parts)
    return CpuSeconds(
        **{
            name: sum((getattr(part, name) for part in known), start=0.0)
            for name in CpuSeconds.__struct_fields__
        }
    )
