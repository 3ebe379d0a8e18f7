"""Tuning of a comparison: trials of every run as jobs, rung by rung (successive halving).

Which settings a trial gets, and which trials go on, is decided by search.py.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from charlm.cells.base import Cell
from charlm.cells.loader import get_cell
from charlm.comparison.entries import Entry, PlannedRun, with_overrides
from charlm.comparison.learning import lowest_bits
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.search import (
    TUNING_SEED,
    SearchSpace,
    TrialResult,
    num_trials,
    plan_search,
    rank_trials,
    rung_schedule,
    sample_settings,
    select_best,
    summarize_tuning,
)
from charlm.execution.executor import Execution, run_jobs
from charlm.execution.jobs import Job
from charlm.results.text import CorpusRecord
from charlm.results.tuning import CellTuning, SearchPlan, Settings, TuningReport
from charlm.settings.values import Setting

TRIAL_LOOKS = 4  # validations of a trial: the lowest counts


class Trial(NamedTuple):
    """A run of an entry with settings of the search."""

    entry: Entry
    number: int
    run: PlannedRun


class TunedRun(NamedTuple):
    """A run whose settings are searched."""

    entry: Entry
    run: PlannedRun


def tuned_runs(plan: ComparisonPlan) -> list[TunedRun]:
    """Return the runs that are tuned: those of cells, each by itself."""
    return [
        TunedRun(entry, run) for entry in plan.entries if entry.role == "cell" for run in entry.runs
    ]


def describe_search(plan: ComparisonPlan) -> SearchPlan | None:
    """Return the search as reports show it; None without tuning."""
    return plan_search(plan.search, _fewest_steps(plan)) if plan.search else None


def _fewest_steps(plan: ComparisonPlan) -> int:
    return min(tuned.run.max_steps for tuned in tuned_runs(plan))


def tune(plan: ComparisonPlan, execution: Execution) -> TuningReport | None:
    """Do the trials of every run, rung by rung; None if the plan has no search."""
    if plan.search is None:
        return None
    halving = SuccessiveHalving(plan)
    for rung in halving.rungs(has_ended=lambda _: True):
        run_jobs(trial_jobs(rung, plan.texts), execution)
    uniform_bits = math.log2(plan.corpus.vocabulary.size)
    cells: dict[str, CellTuning] = {}
    for entry in sorted(plan.entries, key=lambda entry: entry.name):
        if entry.role != "cell":
            continue
        cells[entry.name] = CellTuning(
            seeds=tuple(
                summarize_tuning(
                    halving.spaces[entry.name],
                    run.config.learning_rate,
                    run.config.seed,
                    halving.results[run.path],
                    uniform_bits,
                )
                for run in entry.runs
            )
        )
    return TuningReport(
        search=plan_search(plan.search, _fewest_steps(plan)),
        uniform_baseline_bits=uniform_bits,
        cells=cells,
    )


def tuned_entries(plan: ComparisonPlan, tuning: TuningReport | None) -> tuple[Entry, ...]:
    """Return the entries with the settings that tuning chose for each of their runs."""
    if tuning is None:
        return plan.entries
    return tuple(
        entry.with_settings(
            [found.chosen.settings for found in tuning.cells[entry.name].seeds], plan.corpus.record
        )
        if entry.name in tuning.cells
        else entry
        for entry in plan.entries
    )


class SuccessiveHalving:
    """Trials of every run, rung by rung.

    Attributes:
        spaces: Entry -> its search space.
        results: Directory of the run before tuning -> results of its trials so far.
    """

    def __init__(self, plan: ComparisonPlan) -> None:
        if plan.search is None:
            raise ValueError("a plan without a search has no trials")
        self.plan = plan
        self.search = plan.search
        self.tuned = tuned_runs(plan)
        self.spaces = {
            entry.name: search_space_for(self.search.space, run.config.cell)
            for entry, run in self.tuned
        }
        self.results: dict[Path, list[TrialResult]] = {run.path: [] for _, run in self.tuned}
        self._survivors = {
            run.path: list(range(num_trials(self.search, self.spaces[entry.name])))
            for entry, run in self.tuned
        }
        self._open: set[Path] = set()  # runs with a rung that has not ended

    def rungs(self, has_ended: Callable[[PlannedRun], bool]) -> Iterator[list[Trial]]:
        """Yield the trials of each rung; read their results when the next rung is requested.

        Args:
            has_ended: Whether the result of a trial can be read.
        """
        schedule = rung_schedule(self.search.trials, _fewest_steps(self.plan))
        for fraction, count in schedule.items():
            rung = {
                run.path: [
                    self._trial(entry, run, number, fraction)
                    for number in self._survivors[run.path][:count]
                ]
                for entry, run in self.tuned
            }
            yield [trial for trials in rung.values() for trial in trials]
            for path, trials in rung.items():
                if path in self._open or not all(has_ended(trial.run) for trial in trials):
                    self._open.add(path)
                    continue
                results = [
                    TrialResult(trial.number, trial.run.max_steps, lowest_bits(trial.run))
                    for trial in trials
                ]
                self.results[path] += results
                self._survivors[path] = rank_trials(results)

    def _trial(self, entry: Entry, run: PlannedRun, number: int, fraction: float) -> Trial:
        settings = self._settings(entry, run, number)
        planned = plan_trial(run, settings, fraction, self.plan.corpus.record)
        return Trial(entry, number, planned)

    def _settings(self, entry: Entry, run: PlannedRun, number: int) -> Settings:
        config = run.config
        return sample_settings(self.spaces[entry.name], config.learning_rate, number, config.seed)

    def best_settings(self, entry: Entry, run: PlannedRun) -> Settings | None:
        """Return the settings that a run's trials chose; None while a rung has not ended."""
        if run.path in self._open:
            return None
        return self._settings(entry, run, select_best(self.results[run.path]).number)


def search_space_for(space: SearchSpace, cell: str) -> SearchSpace:
    """Return the search space of a cell: without forget_bias if it has no such gate."""
    cell_type = get_cell(cell)
    has_forget_bias = (
        bool(cell_type.forget_gate) or cell_type.init_retention_bias is not Cell.init_retention_bias
    )
    return {
        name: choices for name, choices in space.items() if has_forget_bias or name != "forget_bias"
    }


def plan_trial(
    run: PlannedRun, settings: Mapping[str, Setting], fraction: float, corpus: CorpusRecord
) -> PlannedRun:
    """Return a run of a fraction of the steps with these settings, in the directory of trials.

    A trial that goes on begins anew: the learning rate falls to the end of each run, and a run
    cannot go on from there. The test split is never read.
    """
    config = run.config
    steps = max(1, math.ceil(fraction * run.max_steps))
    overrides = {
        **settings,
        "seed": TUNING_SEED + config.seed,
        "characters": steps * config.batch_size * config.seq_len,
        "eval_every": max(1, steps // TRIAL_LOOKS),
        "branches": "",
        "final_eval": "none",
    }
    return with_overrides(run, overrides, corpus, trials_dir(run))


def trials_dir(run: PlannedRun) -> Path:
    """Return the directory of the trials that belong to a run of a comparison."""
    return run.path.parents[1] / "trials"


def trial_jobs(rung: Sequence[Trial], texts: Sequence[str]) -> list[Job]:
    """Return the jobs of a rung; trials with the same settings share one."""
    runs = {trial.run.path: trial for trial in rung}
    return [
        trial.run.job(texts, f"{trial.entry.name} trial {trial.number}") for trial in runs.values()
    ]
