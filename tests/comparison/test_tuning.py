"""Tuning: the same trials for every entry, rung by rung, and runs with what they chose."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from comparison_plans import make_plan
from conftest import charlm, start_charlm, wait_until

from charlm.comparison import tuning
from charlm.comparison.entries import PlannedRun
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.search import SPACE, TUNING_SEED, sample_settings
from charlm.comparison.tuning import describe_search, tune, tuned_entries
from charlm.comparison.work import planned_work
from charlm.execution.jobs import Job
from charlm.results.jobs import JobProgress
from charlm.results.tuning import TuningReport
from charlm.runs.run import Run

STEPS = 600
Score = Callable[[PlannedRun], float | None]


@pytest.fixture
def run_trials(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function: plan, score of each trial -> tuning report, jobs of each rung."""

    def run(plan: ComparisonPlan, score: Score) -> tuple[TuningReport, list[list[Job]]]:
        rungs: list[list[Job]] = []
        monkeypatch.setattr(tuning, "lowest_bits", score)
        monkeypatch.setattr(tuning, "run_jobs", lambda jobs, _: rungs.append(jobs))
        report = tune(plan, SimpleNamespace())  # type: ignore[arg-type]
        assert report
        return report, rungs

    return run


def plan_with_trials(
    directory: Path, cells: tuple[str, ...] = ("rnn", "gru"), trials: int = 9, **fields: Any
) -> ComparisonPlan:
    return make_plan(directory, cells, trials=trials, learning_rate=0.0, **fields)


def optimum_at_one_percent(run: PlannedRun) -> float | None:
    """Score a trial as if a learning rate of 0.01 were best and the highest diverged."""
    rate = run.config.learning_rate
    return None if rate > 0.02 else abs(rate - 0.01) + 1 / run.max_steps


def test_every_run_has_trials_of_its_own_and_none_reads_test_split(
    tmp_path: Path, run_trials: Callable[..., Any]
) -> None:
    seen: dict[tuple[str, int], list[PlannedRun]] = {}

    def score(run: PlannedRun) -> float | None:
        seen.setdefault((run.config.cell, run.config.seed - TUNING_SEED), []).append(run)
        assert run.path.parent == tmp_path / "trials"
        assert run.config.final_eval == "none" and run.config.grad_clip == 1.0
        return optimum_at_one_percent(run)

    plan = plan_with_trials(tmp_path)
    report, rungs = run_trials(plan, score)
    assert [len(jobs) for jobs in rungs] == [36, 12]
    assert set(seen) == {(cell, seed) for cell in ("rnn", "gru") for seed in (0, 1)}
    assert {run.max_steps for runs in seen.values() for run in runs} == {675, 2700}
    rates = {key: {run.config.learning_rate for run in runs} for key, runs in seen.items()}
    assert rates["gru", 0] != rates["gru", 1]
    assert {run.config.forget_bias for run in seen["rnn", 0]} == {"default"}
    assert len({run.config.forget_bias for run in seen["gru", 0]}) == 3
    found = report.cells["gru"].seeds
    assert [one.seed for one in found] == [0, 1]
    assert [one.chosen.settings for one in found] == [
        sample_settings(SPACE, 0.01, one.chosen.number, one.seed) for one in found
    ]
    assert report.search == describe_search(plan)


def test_runs_get_chosen_settings_and_nothing_else(
    tmp_path: Path, run_trials: Callable[..., Any]
) -> None:
    plan = plan_with_trials(tmp_path)
    report, _ = run_trials(plan, optimum_at_one_percent)
    entries = tuned_entries(plan, report)
    for before, after in zip(plan.entries, entries, strict=True):
        found = report.cells[after.name].seeds
        for old, new, one in zip(before.runs, after.runs, found, strict=True):
            assert new.config == msgspec.structs.replace(old.config, **one.chosen.settings)
            assert new.path.parent == old.path.parent
    # they are the runs of a comparison that is given these settings
    settings = report.cells["gru"].seeds[0].chosen.settings
    given = make_plan(tmp_path, ("gru",), **settings)
    assert entries[1].runs[0].path in {run.path for run in given.entries[0].runs}


def test_planned_work_has_as_many_trials_and_then_exactly_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_trials: Callable[..., Any]
) -> None:
    plan = plan_with_trials(tmp_path)
    report, rungs = run_trials(plan, optimum_at_one_percent)
    done = [job.path for jobs in rungs for job in jobs]
    work = planned_work(plan)
    trials = [item.run for item in work if item.purpose == "trial"]
    assert sorted(run.max_steps for run in trials) == [675] * 36 + [2700] * 12
    assert {run.path for run in trials[:36]} == {*done[:36]}
    planned_runs = [item for item in work if item.purpose == "run"]
    labels = [item.label for item in planned_runs]
    assert labels == ["runs/rnn-s0", "runs/gru-s0", "runs/rnn-s1", "runs/gru-s1"]
    assert all(item.is_open and item.progress() == JobProgress() for item in planned_runs)
    monkeypatch.setattr(PlannedRun, "progress", lambda _: JobProgress("finished"))
    work = planned_work(plan)
    assert {item.run.path for item in work if item.purpose == "trial"} == {*done}
    assert not any(item.is_open for item in work)
    runs = {item.run.path for item in work if item.purpose == "run"}
    assert runs == {run.path for entry in tuned_entries(plan, report) for run in entry.runs}


def test_more_trials_cells_and_seeds_reuse_what_is_done(
    tmp_path: Path, run_trials: Callable[..., Any]
) -> None:
    _, few = run_trials(plan_with_trials(tmp_path), optimum_at_one_percent)
    plan = plan_with_trials(tmp_path, ("lstm", "gru", "rnn"), 12, seeds=3)
    _, more = run_trials(plan, optimum_at_one_percent)
    first, later = ({job.path for job in rungs[0]} for rungs in (few, more))
    assert len(first) == 36 and len(later) == 108 and first < later


def test_identical_trials_are_made_once(tmp_path: Path, run_trials: Callable[..., Any]) -> None:
    plan = make_plan(tmp_path, ("gru", "rnn"), trials=9, seeds=1)  # the rate is given
    report, rungs = run_trials(plan, optimum_at_one_percent)
    assert sorted(job.name.split()[0] for job in rungs[0]) == ["gru"] * 3 + ["rnn"]
    assert [len(cell.seeds[0].trials) for cell in report.cells.values()] == [3, 1]


# the command


@pytest.mark.slow
def test_interrupted_tuning_continues_and_its_choice_is_trained(tmp_path: Path, book: Path) -> None:
    out = tmp_path / "out"
    words = ["--cells", "gru", "--seeds", 1, "--params", 3030, "--embedding-dim", 8]
    words += ["--batch-size", 4, "--seq-len", 16, "--max-steps", STEPS, "--trials", 2]
    words += ["--jobs", 1, "--no-memory", "--baselines", "none", "--out", out, "--json"]
    process = start_charlm("compare-cells", book, *words)
    wait_until(lambda: list(out.glob("trials/*/report.json")))
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    assert process.returncode == 143 and b"the same command again" in stderr, stderr
    kept = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/report.json")}
    assert kept and not list(out.glob("runs/*/report.json"))

    done = charlm("compare-cells", book, *words)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    report = json.loads(done.stdout)
    (cell,) = report["tuning"]["cells"]["gru"]["seeds"]
    runs = {run.record.config.forget_bias: run for run in map(Run, out.glob("trials/*"))}
    for trial in cell["trials"]:
        run = runs[trial["settings"]["forget_bias"]]
        assert run.report and trial["bits"] == [run.report.best_valid_bits]
        assert run.report.score is None and run.report.steps == STEPS
        assert run.record.config.seed == TUNING_SEED
    configs = [Run(path).record.config for path in (out / "runs").iterdir()]
    (best,) = (config for config in configs if config.cell == "gru")
    chosen = cell["chosen"]
    assert chosen["bits"] == min(trial["bits"][0] for trial in cell["trials"])
    assert {name: getattr(best, name) for name in SPACE} == chosen["settings"]
    assert not set(SPACE) & set(report["settings"])
    assert report["rows"][0]["learning_rate"] == best.learning_rate
