"""Results of hyperparameter search."""

from typing import Literal

import msgspec

from charlm.settings.values import Setting

Settings = dict[str, Setting]


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rung of successive halving."""

    fraction: float  # of a run's steps that each trial has
    trials: int  # trials that reach this rung


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trial at every rung that it reached."""

    number: int  # from 0; trial 0 has the recipe
    settings: Settings
    steps: tuple[int, ...]  # optimizer steps at each rung
    bits: tuple[float | None, ...]  # lowest validation bits per token; None if it diverged


class ChosenTrial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The trial whose settings the runs get."""

    number: int  # of the trial
    steps: int  # optimizer steps of its longest run
    bits: float | None  # lowest validation bits per token; None if it diverged
    settings: Settings


class SeedTuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All trials for a run and the chosen one; each run has trials of its own."""

    seed: int  # of the run
    chosen: ChosenTrial
    at_boundary: Literal["", "low", "high"]  # end of the learning rate range that it is near
    trials: tuple[TrialRecord, ...]
    expected_best: tuple[float, ...]  # expected best bits of 1, 2, ... trials (Dodge et al. 2019)


class CellTuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search of each run of an entry."""

    seeds: tuple[SeedTuning, ...]  # in the order of seeds


class SearchPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search that every run gets, each on a draw of its own."""

    trials: int  # per run
    seed: int  # of the trials of the first seed; those of the others follow
    space: dict[str, tuple[Setting, ...]]  # learning_rate: lower and upper bound; else choices
    rungs: tuple[Rung, ...]
    cost_in_runs: float  # cost of the trials of a run, in whole runs


class TuningReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search and what it chose for each entry."""

    search: SearchPlan
    uniform_baseline_bits: float  # bits per token of a uniform code
    cells: dict[str, CellTuning]
