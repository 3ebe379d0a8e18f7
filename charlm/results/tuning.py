"""Results of hyperparameter search."""

from typing import Literal

import msgspec

from charlm.results.values import Count, Integer, Number, RecordedSetting

Settings = dict[str, RecordedSetting]


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rung of successive halving."""

    fraction: Number  # of a run's steps that each trial has
    trials: Count  # trials that reach this rung


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trial at every rung that it reached."""

    number: Count  # from 0; trial 0 has the recipe
    settings: Settings
    steps: tuple[Count, ...]  # optimizer steps at each rung
    bits: tuple[Number | None, ...]  # lowest validation bits per token; None if it diverged


class ChosenTrial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The trial whose settings the runs get."""

    number: Count  # of the trial
    steps: Count  # optimizer steps of its longest run
    bits: Number | None  # lowest validation bits per token; None if it diverged
    settings: Settings


class SeedTuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All trials for a run and the chosen one; each run has trials of its own."""

    seed: Integer  # of the run
    chosen: ChosenTrial
    at_boundary: Literal["", "low", "high"]  # end of the learning rate range that it is near
    trials: tuple[TrialRecord, ...]
    expected_best: tuple[Number, ...]  # expected best bits of 1, 2, ... trials (Dodge et al. 2019)


class CellTuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search of each run of an entry."""

    seeds: tuple[SeedTuning, ...]  # in the order of seeds


class SearchPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search that every run gets, each on a draw of its own."""

    trials: Count  # per run
    seed: Integer  # of the trials of the first seed; those of the others follow
    space: dict[str, tuple[RecordedSetting, ...]]  # learning_rate: both bounds; else choices
    rungs: tuple[Rung, ...]
    cost_in_runs: Number  # cost of the trials of a run, in whole runs


class TuningReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search and what it chose for each entry."""

    search: SearchPlan
    uniform_baseline_bits: Number  # bits per token of a uniform code
    cells: dict[str, CellTuning]
