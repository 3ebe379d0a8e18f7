"""Bracket of a recipe: a run at half and one at twice its learning rate.

A comparison by recipe says how cells do with their recipes. The bracket shows where a recipe does
not fit the text. Its runs read a third of the characters. The recipe itself after a third of them
is a branch of the run with the same seed. An earlier end would cost less and mislead: shorter runs
prefer higher rates (by a factor of 2.1 for an eighth), so twice the rate would seem better.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import stdev
from typing import NamedTuple

from charlm.comparison.entries import Entry, PlannedRun, with_overrides
from charlm.comparison.learning import bits_at
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.request import BRACKET_BRANCH, BRACKET_FACTORS
from charlm.results.comparison import BracketPoint
from charlm.results.tuning import Settings
from charlm.runs.run import Run
from charlm.settings.values import parse_branches

STANDARD_DEVIATIONS = 2  # by which another rate must be better to say so


class BracketRun(NamedTuple):
    """A run of an entry at another learning rate."""

    entry: Entry
    factor: float
    run: PlannedRun


def plan_bracket(plan: ComparisonPlan) -> list[BracketRun]:
    """Return the runs at other learning rates; none where rates are given or tuned."""
    if not plan.request.has_bracket:
        return []
    return [
        BracketRun(entry, factor, _at_rate(entry.runs[0], factor, plan))
        for factor in BRACKET_FACTORS
        for entry in plan.entries
        if entry.role == "cell" and _has_branch(entry.runs[0])
    ]


def _has_branch(run: PlannedRun) -> bool:
    return Fraction(BRACKET_BRANCH) in parse_branches(run.config.branches)


def _at_rate(run: PlannedRun, factor: float, plan: ComparisonPlan) -> PlannedRun:
    config = run.config
    steps = max(1, round(Fraction(BRACKET_BRANCH) * run.max_steps))
    overrides: Settings = {
        "learning_rate": float(f"{config.learning_rate * factor:.6g}"),
        "characters": steps * config.batch_size * config.seq_len,
        "eval_every": steps,
        "branches": "",
        "final_eval": "none",
    }
    return with_overrides(run, overrides, plan.corpus.record, bracket_dir(run))


def bracket_dir(run: PlannedRun) -> Path:
    """Return the directory of the bracket that belongs to a run of a comparison."""
    return run.path.parents[1] / "bracket"


def bracket_points(bracket: Sequence[BracketRun]) -> tuple[BracketPoint, ...]:
    """Return what the runs of a bracket, which have all ended, show."""
    spread = {entry.name: _seed_std(entry) for entry, _, _ in bracket}
    return tuple(_point(*bracketed, spread) for bracketed in bracket)


def _point(
    entry: Entry, factor: float, run: PlannedRun, spread: Mapping[str, float | None]
) -> BracketPoint:
    report = Run(run.path).report
    bits = report.best_valid_bits if report else None
    recipe_bits = bits_at(entry.runs[0], Fraction(BRACKET_BRANCH))
    seed_std = spread[entry.name]
    is_better = (
        bits is not None
        and seed_std is not None
        and (recipe_bits is None or bits < recipe_bits - STANDARD_DEVIATIONS * seed_std)
    )
    return BracketPoint(
        cell=entry.name,
        factor=factor,
        learning_rate=run.config.learning_rate,
        characters=run.config.characters,
        bits=bits,
        recipe_bits=recipe_bits,
        seed_std=seed_std,
        is_better=is_better,
    )


def _seed_std(entry: Entry) -> float | None:
    """Return the standard deviation over seeds: the larger of that at the last branch and the end.

    None with fewer than two seeds that did not diverge.
    """
    fractions = (*parse_branches(entry.runs[-1].config.branches), Fraction(1))
    columns = [[bits_at(run, fraction) for run in entry.runs] for fraction in fractions[-2:]]
    known = [[bits for bits in column if bits is not None] for column in columns]
    return max((stdev(column) for column in known if len(column) > 1), default=None)
