"""The trials that tune the cells of a comparison: runs like the others, but shorter."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from charlm.cells.base import Cell
from charlm.cells.loader import get_cell
from charlm.cells.names import cell_label
from charlm.comparison.plan import PlannedRun, run_path
from charlm.comparison.search import (
    TUNING_SEED,
    SearchSettings,
    SearchSpace,
    TrialResult,
    describe_search,
    rank_trials,
    rung_schedule,
    sample_settings,
    select_best,
    summarize_tuning,
)
from charlm.execution.jobs import Job
from charlm.results.comparison import Report
from charlm.results.text import CorpusRecord
from charlm.runs.run import Run

VALIDATIONS_PER_TRIAL = (
    4  # validations of a trial: it is short, and each takes as long as many updates
)


def with_overrides(
    planned: PlannedRun, settings: dict[str, Any], text: CorpusRecord, place: Path
) -> PlannedRun:
    """The same run, but for settings that leave its model's size as it is; kept in `place`."""
    config = msgspec.structs.replace(planned.config, **settings)
    return replace(planned, config=config, path=run_path(config, text, place))


def apply_chosen_settings(
    planned: Sequence[PlannedRun], settings: dict[str, Any] | None, text: CorpusRecord
) -> list[PlannedRun]:
    """The same runs with what was chosen for them; as long as that is open, they have no name."""
    if settings is None:
        return [
            replace(
                one, path=one.path.with_name(f"{cell_label(one.config.cell)}-s{one.config.seed}-…")
            )
            for one in planned
        ]
    return [with_overrides(one, settings, text, one.path.parent) for one in planned]


def plan_trial(
    planned: PlannedRun, settings: dict[str, Any], updates: int, text: CorpusRecord
) -> PlannedRun:
    """A run of so many updates with these settings, kept beside a comparison's own.

    It begins anew, also of a trial that goes on: the learning rate falls to the end of each run,
    and a run cannot go on from where it has fallen to. The test split is left alone.
    """
    looks = planned.config.eval_every or max(1, updates // VALIDATIONS_PER_TRIAL)
    short = {
        "seed": TUNING_SEED,
        "max_steps": updates,
        "epochs": 0.0,
        "eval_every": looks,
        "final_eval": "none",
    }
    return with_overrides(planned, {**settings, **short}, text, planned.path.parents[1] / "trials")


def trial_score(planned: PlannedRun) -> float | None:
    """The lowest quick look of a trial that has ended; None if it diverged."""
    report = Run(planned.path).report
    return report["best_valid_bits"] if report else None


def search_space_for(space: SearchSpace, cell: str) -> SearchSpace:
    """What is searched for this cell: one without a gate that keeps has no bias of it."""
    keeps = get_cell(cell).init_retention_bias is not Cell.init_retention_bias
    return {name: choices for name, choices in space.items() if keeps or name != "forget_bias"}


class SuccessiveHalving:
    """The trials of all, rung by rung. Who goes on is known when a rung has ended: as long as that
    is open, others stand for them that take as much.

    tuned: name of a cell, or of what stands beside them -> one of its runs, as it would be with
    what is given alone; updates: of each.
    """

    def __init__(
        self,
        tuned: Mapping[str, PlannedRun],
        search: SearchSettings,
        updates: int,
        text: CorpusRecord,
    ) -> None:
        self.tuned, self.search, self.updates, self.text = tuned, search, updates, text
        self.spaces = {
            name: search_space_for(search.space, one.config.cell) for name, one in tuned.items()
        }
        self.going = {name: list(range(search.trials)) for name in tuned}
        self.outcomes: dict[str, list[TrialResult]] = {name: [] for name in tuned}
        self.open: set[str] = set()

    def run_rungs(
        self, ended: Callable[[PlannedRun], bool]
    ) -> Iterator[dict[tuple[str, int], PlannedRun]]:
        """(name, number) -> its trial, of each rung; what has ended is read when the next is asked
        for."""
        for length, count in rung_schedule(self.search.trials, self.updates).items():
            made = {
                (name, number): self.trial(name, number, length)
                for name, numbers in self.going.items()
                for number in numbers[:count]
            }
            yield made
            for name in self.tuned:
                mine = {number: one for (of, number), one in made.items() if of == name}
                if name in self.open or not all(map(ended, mine.values())):
                    self.open.add(name)
                    continue
                came = [
                    TrialResult(number, length, trial_score(one)) for number, one in mine.items()
                ]
                self.outcomes[name] += came
                self.going[name] = rank_trials(came)

    def trial(self, name: str, number: int, updates: int) -> PlannedRun:
        settings = sample_settings(self.spaces[name], number)
        return plan_trial(self.tuned[name], settings, updates, self.text)

    def best_settings(self, name: str) -> dict[str, Any] | None:
        """The settings that its trials choose; None as long as that is open."""
        if name in self.open:
            return None
        return sample_settings(self.spaces[name], select_best(self.outcomes[name]).number)


def plan_trials(
    tuned: Mapping[str, PlannedRun], search: SearchSettings, updates: int, text: CorpusRecord
) -> tuple[list[PlannedRun], dict[str, dict[str, Any] | None]]:
    """All trials, and name -> what they choose, None as long as that is open."""
    of = SuccessiveHalving(tuned, search, updates, text)
    every = {
        one.path: one
        for made in of.run_rungs(lambda one: bool(one.progress().status))
        for one in made.values()
    }
    return list(every.values()), {name: of.best_settings(name) for name in tuned}


def run_tuning(
    tuned: Mapping[str, PlannedRun],
    search: SearchSettings,
    updates: int,
    text: CorpusRecord,
    symbols: int,
    job: Callable[[PlannedRun], Job],
    do: Callable[[Sequence[Job]], None],
) -> Report:
    """The trials of all, done rung by rung; what report.json says of them."""
    of = SuccessiveHalving(tuned, search, updates, text)
    for made in of.run_rungs(lambda _: True):
        jobs = {  # one of each: with few settings left to be searched, trials may be alike
            one.path: replace(job(one), name=f"{name} trial {number}")
            for (name, number), one in made.items()
        }
        do(list(jobs.values()))
    uniform = math.log2(symbols)
    cells = {
        name: summarize_tuning(of.spaces[name], of.outcomes[name], uniform)
        for name in sorted(tuned)
    }
    return {**describe_search(search, updates), "uniform_bits": uniform, "cells": cells}
