"""Timing: every CPU second of a comparison is in one line of the breakdown."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.comparison import timing
from charlm.comparison.entries import Entry
from charlm.comparison.timing import break_down_cpu, build_timing_report
from charlm.results.timing import CpuBreakdown
from charlm.results.training import CpuSeconds

RUN = CpuSeconds(updates=60.0, branches=6.0, looks=3.0, score=4.0, total=75.0)


def outcome(cpu: CpuSeconds | None) -> Any:
    return SimpleNamespace(report=cpu and SimpleNamespace(cpu=cpu))


def break_down(monkeypatch: pytest.MonkeyPatch, of_workers: float) -> CpuBreakdown:
    """Return the breakdown of two runs of a cell, one that diverged, and a Transformer."""
    others = {"bracket": [CpuSeconds(total=20.0)], "trials": [CpuSeconds(total=5.0)]}
    monkeypatch.setattr(timing, "_cpu_of", lambda directory: others[directory.name])
    monkeypatch.setattr(timing, "worker_cpu_seconds", lambda: of_workers)
    monkeypatch.setattr(timing.time, "process_time", lambda: 10.0)
    summaries = {"one": SimpleNamespace(seconds={"a": 1.0, "b": 2.0})}
    probes: Any = SimpleNamespace(probes={**summaries, "two": SimpleNamespace(seconds={"a": 4.0})})
    entries = [Entry("gru", "cell", None, ()), Entry("transformer", "transformer", None, ())]
    outcomes = {"gru": [outcome(RUN), outcome(RUN), outcome(None)], "transformer": [outcome(RUN)]}
    return break_down_cpu(Path(), entries, outcomes, probes)


def test_each_second_is_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    of_runs = 3 * 75.0 + 20.0 + 5.0 + 7.0
    cpu = break_down(monkeypatch, of_runs + 9.0)
    assert cpu == CpuBreakdown(
        judged_updates=120.0,
        branches=12.0,
        looks=6.0,
        scores=8.0,
        bracket=20.0,
        trials=5.0,
        transformer=75.0,
        probes=7.0,
        start_up=4.0,
        workers=9.0,  # the run that diverged, the start of probes, and the fork server
        command=10.0,
    )
    assert cpu.total == of_runs + 9.0 + 10.0
    report = build_timing_report({}, "charlm", cpu)
    assert report.judged_share == 120.0 / cpu.total
    assert report.judged_share_with_branches == 132.0 / cpu.total


def test_work_before_an_interruption_is_not_subtracted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert break_down(monkeypatch, 3.0).workers == 0.0


def test_existing_runs_have_no_breakdown() -> None:
    report = build_timing_report({}, "charlm")
    assert report.cpu is None and report.judged_share is None
