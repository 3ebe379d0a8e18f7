"""Tuning of a comparison: trials of every entry as jobs, rung by rung (successive halving).

Which settings a trial gets, and which trials go on, is decided by search.py.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from charlm.cells.base import Cell
from charlm.cells.loader import get_cell
from charlm.comparison.entries import Entry, PlannedRun, by_seed, with_overrides
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.search import (
    TUNING_SEED,
    SearchSpace,
    TrialResult,
    plan_search,
    rank_trials,
    rung_schedule,
    sample_settings,
    select_best,
    summarize_tuning,
)
from charlm.execution.executor import Execution, run_jobs
from charlm.execution.jobs import Job
from charlm.results.jobs import JobProgress
from charlm.results.text import CorpusRecord
from charlm.results.tuning import Settings, TuningReport
from charlm.runs.run import Run

VALIDATIONS_PER_TRIAL = 4  # trials are short, and a validation takes as long as many steps


class Trial(NamedTuple):
    """A short run of an entry with settings of the search."""

    entry: Entry
    number: int
    run: PlannedRun


class PlannedWork(NamedTuple):
    """A run or trial that a comparison will do.

    Attributes:
        entry: Its entry.
        purpose: Whether it is compared, or tunes the entry.
        run: Its size and settings.
        is_open: Whether tuning has yet to choose its settings, and so its directory; those of
            `run` stand for them.
    """

    entry: Entry
    purpose: Literal["trial", "run"]
    run: PlannedRun
    is_open: bool = False

    @property
    def label(self) -> str:
        """Name of its directory under the name of the entry, or without a hash while open."""
        parent = trials_dir(self.run).name if self.purpose == "trial" else "runs"
        name = f"{parent}/{self.entry.name}-s{self.run.config.seed}"
        return name if self.is_open else f"{name}-{self.run.path.name.rpartition('-')[2]}"

    def progress(self) -> JobProgress:
        """Return how far it is, according to its directory; nothing is done while it is open."""
        return JobProgress() if self.is_open else self.run.progress()


def tune(plan: ComparisonPlan, execution: Execution) -> TuningReport | None:
    """Do the trials of every entry, rung by rung; None if the plan has no search."""
    if plan.search is None:
        return None
    halving = SuccessiveHalving(plan)
    for rung in halving.rungs(has_ended=lambda _: True):
        run_jobs(trial_jobs(rung, plan.texts), execution)
    uniform_bits = math.log2(plan.corpus.vocabulary.size)
    return TuningReport(
        search=plan_search(plan.search, plan.max_steps),
        uniform_baseline_bits=uniform_bits,
        cells={
            name: summarize_tuning(halving.spaces[name], halving.results[name], uniform_bits)
            for name in sorted(halving.results)
        },
    )


def tuned_entries(plan: ComparisonPlan, tuning: TuningReport | None) -> tuple[Entry, ...]:
    """Return the entries with the settings that tuning chose for them."""
    if tuning is None:
        return plan.entries
    return tuple(
        entry.with_settings(tuning.cells[entry.name].chosen.settings, plan.corpus.record)
        for entry in plan.entries
    )


def planned_work(plan: ComparisonPlan) -> list[PlannedWork]:
    """Return all trials and runs, each once, as far as they are known.

    As long as a rung has not ended, other trials of the same size stand for those that will go
    on, and the settings of runs are open.
    """
    work: list[PlannedWork] = []
    entries, open_names = plan.entries, set[str]()
    if plan.search:
        halving = SuccessiveHalving(plan)
        for rung in halving.rungs(has_ended=lambda run: bool(run.progress().status)):
            work += [PlannedWork(trial.entry, "trial", trial.run) for trial in rung]
        chosen = {entry.name: halving.best_settings(entry.name) for entry in entries}
        open_names = {name for name, settings in chosen.items() if settings is None}
        entries = tuple(
            entry.with_settings(chosen[entry.name] or {}, plan.corpus.record) for entry in entries
        )
    work += [
        PlannedWork(entry, "run", run, is_open=entry.name in open_names)
        for entry, run in by_seed(entries)
    ]
    return list({item.run.path: item for item in reversed(work)}.values())[::-1]


class SuccessiveHalving:
    """Trials of every entry, rung by rung.

    Attributes:
        spaces: Entry -> its search space.
        results: Entry -> results of its trials so far.
    """

    def __init__(self, plan: ComparisonPlan) -> None:
        if plan.search is None:
            raise ValueError("a plan without a search has no trials")
        self.plan = plan
        self.search = plan.search
        self.spaces = {
            entry.name: search_space_for(self.search.space, entry.runs[0].config.cell)
            for entry in plan.entries
        }
        self.results: dict[str, list[TrialResult]] = {entry.name: [] for entry in plan.entries}
        self._survivors = {entry.name: list(range(self.search.trials)) for entry in plan.entries}
        self._open: set[str] = set()  # entries with a rung that has not ended

    def rungs(self, has_ended: Callable[[PlannedRun], bool]) -> Iterator[list[Trial]]:
        """Yield the trials of each rung; read their results when the next rung is requested.

        Args:
            has_ended: Whether the result of a trial can be read.
        """
        for steps, count in rung_schedule(self.search.trials, self.plan.max_steps).items():
            rung = {
                entry.name: [
                    self._trial(entry, number, steps)
                    for number in self._survivors[entry.name][:count]
                ]
                for entry in self.plan.entries
            }
            yield [trial for trials in rung.values() for trial in trials]
            for name, trials in rung.items():
                if name in self._open or not all(has_ended(trial.run) for trial in trials):
                    self._open.add(name)
                    continue
                results = [
                    TrialResult(trial.number, steps, trial_score(trial.run)) for trial in trials
                ]
                self.results[name] += results
                self._survivors[name] = rank_trials(results)

    def _trial(self, entry: Entry, number: int, steps: int) -> Trial:
        settings = sample_settings(self.spaces[entry.name], number)
        run = plan_trial(entry.runs[0], settings, steps, self.plan.corpus.record)
        return Trial(entry, number, run)

    def best_settings(self, name: str) -> Settings | None:
        """Return the settings that an entry's trials chose; None while a rung has not ended."""
        if name in self._open:
            return None
        return sample_settings(self.spaces[name], select_best(self.results[name]).number)


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
    run: PlannedRun, settings: Mapping[str, float | str], steps: int, corpus: CorpusRecord
) -> PlannedRun:
    """Return a run of `steps` steps with these settings, kept in the directory of trials.

    A trial that goes on begins anew: the learning rate falls to the end of each run, and a run
    cannot go on from there. The test split is never read.
    """
    overrides = {
        **settings,
        "seed": TUNING_SEED,
        "max_steps": steps,
        "epochs": 0.0,
        "eval_every": run.config.eval_every or max(1, steps // VALIDATIONS_PER_TRIAL),
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


def trial_score(run: PlannedRun) -> float | None:
    """Return the lowest validation bits of a trial that has ended; None if it diverged."""
    report = Run(run.path).report
    return report.best_valid_bits if report else None
