"""Tuning: the same trials for every entry, rung by rung, and runs with what they chose."""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from comparison_plans import make_plan
from conftest import charlm, command

from charlm.comparison import tuning
from charlm.comparison.entries import PlannedRun
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.search import (
    DEFAULT_TRIALS,
    SPACE,
    TUNING_SEED,
    SearchSettings,
    SearchSpace,
    plan_search,
    sample_settings,
)
from charlm.comparison.tuning import planned_work, search_space_for, tune, tuned_entries
from charlm.config import Config
from charlm.execution.jobs import Job
from charlm.results.jobs import JobProgress
from charlm.results.tuning import TuningReport
from charlm.runs.run import Run

Score = Callable[[PlannedRun], float | None]


@pytest.fixture
def run_trials(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function: plan, score of each trial -> tuning report, jobs of each rung."""

    def run(plan: ComparisonPlan, score: Score) -> tuple[TuningReport, list[list[Job]]]:
        rungs: list[list[Job]] = []
        monkeypatch.setattr(tuning, "trial_score", score)
        monkeypatch.setattr(tuning, "run_jobs", lambda jobs, _: rungs.append(jobs))
        report = tune(plan, SimpleNamespace())  # type: ignore[arg-type]
        assert report
        return report, rungs

    return run


def plan_with_trials(
    directory: Path,
    cells: tuple[str, ...] = ("rnn", "gru"),
    trials: int = 9,
    space: SearchSpace = SPACE,
    **settings: Any,
) -> ComparisonPlan:
    return make_plan(directory, cells, SearchSettings(trials, space), **settings)


def optimum_at_one_percent(run: PlannedRun) -> float | None:
    """Score a trial as if a learning rate of 0.01 were best and the highest diverged."""
    rate = run.config.learning_rate
    return None if rate > 0.02 else abs(rate - 0.01) + 1 / run.config.max_steps


def test_every_cell_has_same_trials_and_none_reads_test_split(
    tmp_path: Path, run_trials: Callable[..., Any]
) -> None:
    seen: dict[str, list[Config]] = {"rnn": [], "gru": []}

    def score(run: PlannedRun) -> float | None:
        seen[run.config.cell].append(run.config)
        assert run.path.parent == tmp_path / "trials"
        return optimum_at_one_percent(run)

    plan = plan_with_trials(tmp_path)
    report, rungs = run_trials(plan, score)
    assert [len(jobs) for jobs in rungs] == [18, 6, 4]
    assert rungs[1][0].name == "rnn trial 6"
    fields = ("learning_rate", "dropout", "grad_clip", "max_steps", "seed", "final_eval")
    fields += ("eval_every",)
    rnn, gru = ([[getattr(config, f) for f in fields] for config in seen[cell]] for cell in seen)
    assert rnn == gru and {config.final_eval for config in seen["gru"]} == {"none"}
    rnn_biases, gru_biases = ({config.forget_bias for config in seen[cell]} for cell in seen)
    assert rnn_biases == {"default"} != gru_biases
    run_seeds = {run.config.seed for entry in plan.entries for run in entry.runs}
    assert not run_seeds & {config.seed for config in seen["gru"]}
    gru_size = plan.entries[1].runs[0].config.hidden_size
    assert {config.hidden_size for config in seen["gru"]} == {gru_size}
    assert report.cells["gru"].chosen.settings == sample_settings(SPACE, 6)
    assert report.search == plan_search(SearchSettings(9, SPACE), 2700)


def test_runs_get_chosen_settings_and_nothing_else(
    tmp_path: Path, run_trials: Callable[..., Any]
) -> None:
    plan = plan_with_trials(tmp_path)
    report, _ = run_trials(plan, optimum_at_one_percent)
    entries = tuned_entries(plan, report)
    for before, after in zip(plan.entries, entries, strict=True):
        space = search_space_for(SPACE, "rnn") if after.name == "rnn" else SPACE
        for old, new in zip(before.runs, after.runs, strict=True):
            assert new.config == msgspec.structs.replace(old.config, **sample_settings(space, 6))
            assert new.path.parent == old.path.parent and new.path != old.path
    # they are the runs of a comparison that is given these settings
    given = make_plan(tmp_path, ("gru",), **sample_settings(SPACE, 6))
    assert entries[1].runs[0].path in {run.path for run in given.entries[0].runs}


def test_planned_work_has_as_many_trials_and_then_exactly_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_trials: Callable[..., Any]
) -> None:
    plan = plan_with_trials(tmp_path)
    report, rungs = run_trials(plan, optimum_at_one_percent)
    done = [job.path for jobs in rungs for job in jobs]
    work = planned_work(plan)
    trials = [item.run for item in work if item.purpose == "trial"]
    steps = sorted(run.config.max_steps for run in trials)
    assert steps == [300] * 18 + [900] * 6 + [2700] * 4
    assert {run.path for run in trials[:18]} == {*done[:18]}
    planned_runs = [item for item in work if item.purpose == "run"]
    labels = [item.label for item in planned_runs]
    assert labels == ["runs/rnn-s0", "runs/gru-s0", "runs/rnn-s1", "runs/gru-s1"]
    assert all(item.is_open and item.progress() == JobProgress() for item in planned_runs)
    assert {item.label for item in work if item.purpose == "trial"} == {
        f"trials/{run.path.name}" for run in trials
    }
    monkeypatch.setattr(PlannedRun, "progress", lambda _: JobProgress("finished"))
    work = planned_work(plan)
    assert {item.run.path for item in work if item.purpose == "trial"} == {*done}
    assert not any(item.is_open for item in work)
    runs = {item.run.path for item in work if item.purpose == "run"}
    assert runs == {run.path for entry in tuned_entries(plan, report) for run in entry.runs}


def test_more_trials_and_cells_reuse_what_is_done(
    tmp_path: Path, run_trials: Callable[..., Any]
) -> None:
    _, few = run_trials(plan_with_trials(tmp_path), optimum_at_one_percent)
    more_cells = plan_with_trials(tmp_path, ("lstm", "gru", "rnn"), 12)
    _, more = run_trials(more_cells, optimum_at_one_percent)
    first, later = ({job.path for job in rungs[0]} for rungs in (few, more))
    assert len(first) == 18 and len(later) == 36 and first < later


def test_identical_trials_share_a_job(tmp_path: Path, run_trials: Callable[..., Any]) -> None:
    space = {"forget_bias": SPACE["forget_bias"]}
    plan = plan_with_trials(tmp_path, space=space)
    report, rungs = run_trials(plan, optimum_at_one_percent)
    assert sorted(job.name.split()[0] for job in rungs[0]) == ["gru"] * 3 + ["rnn"]
    assert [len(cell.trials) for cell in report.cells.values()] == [9, 9]
    assert [cell.chosen.number for cell in report.cells.values()] == [0, 0]


# the command


@pytest.mark.slow
def test_cells_are_tuned_unless_a_learning_rate_is_given(tmp_path: Path, book: Path) -> None:
    def purposes(*options: str) -> Counter[str]:
        small = ["--cells", "rnn", "--seeds", "1", "--params", "3030", "--embedding-dim", "8"]
        small += ["--batch-size", "4", "--seq-len", "16", "--max-steps", "90"]
        small += ["--baselines", "none", *options]
        out = tmp_path / "-".join(options)
        done = charlm("compare-cells", book, *small, "--out", out, "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        return Counter(run["purpose"] for run in json.loads(done.stdout)["runs"])

    assert purposes() == {"trial": DEFAULT_TRIALS + 2, "run": 1}
    assert purposes("--lr", "0.01") == purposes("--trials", "0") == {"run": 1}
    assert purposes("--lr-range", "0.01..0.1")["trial"] == DEFAULT_TRIALS + 2


@pytest.mark.slow
def test_interrupted_tuning_continues_and_its_choice_is_trained(tmp_path: Path, book: Path) -> None:
    out = tmp_path / "out"
    words = ["--cells", "gru", "--seeds", 1, "--params", 3030, "--embedding-dim", 8]
    words += ["--batch-size", 4, "--seq-len", 16, "--max-steps", 600, "--trials", 2]
    words += ["--jobs", 1, "--out", out, "--json"]
    process = subprocess.Popen(command("compare-cells", book, *words), stderr=subprocess.PIPE)
    for _ in range(600):
        if list(out.glob("trials/*/report.json")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 143 and b"the same command again" in stderr, stderr
    kept = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/report.json")}
    assert kept and not list(out.glob("runs/*/report.json"))

    done = charlm("compare-cells", book, *words)
    assert done.returncode == 0, done.stderr
    assert b"2 trials of each cell, which cost 2 times as much" in done.stderr
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    report = json.loads(done.stdout)
    cell = report["tuning"]["cells"]["gru"]
    runs = {run.record.config.learning_rate: run for run in map(Run, out.glob("trials/*"))}
    for trial in cell["trials"]:
        run = runs[trial["settings"]["learning_rate"]]
        assert run.report and trial["bits"] == [run.report.best_valid_bits]
        assert run.report.score is None and run.report.steps == 600
        assert run.record.config.seed == TUNING_SEED
    configs = [Run(path).record.config for path in (out / "runs").iterdir()]
    (best,) = (config for config in configs if config.cell == "gru")
    chosen = cell["chosen"]
    assert chosen["bits"] == min(trial["bits"][0] for trial in cell["trials"])
    assert {name: getattr(best, name) for name in SPACE} == chosen["settings"]
    assert not set(SPACE) & set(report["settings"])
    assert "<h2>Tuning</h2>" in (out / "report.html").read_text()
