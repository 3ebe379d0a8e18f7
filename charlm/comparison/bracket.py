"""Bracket of a recipe: runs at half and twice its learning rate, and the rate that is best.

A comparison by recipe says how cells do with their recipes. The bracket shows where the learning
rate of a recipe does not suit the text. Its runs read a third of the characters. The rate between
theirs is that of the compared runs: their branches end at a third, so it has all seeds at no cost.

Shorter runs prefer higher rates, so that the best of the three rates says nothing by itself. What
is tested is the rate that the recipe has for a third of the characters: bits are a parabola over
the logarithm of the rate, and its slope there is zero if no other rate is better. That rate lies
between the second and the third one, whose difference the slope mostly is.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.special import stdtrit

from charlm.comparison.entries import Entry, PlannedRun, with_overrides
from charlm.comparison.learning import bits_at, lowest_bits
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.request import BRACKET_BRANCH, BRACKET_FACTORS
from charlm.comparison.sample_size import SIGNIFICANCE_LEVEL
from charlm.recipes import apply_recipe
from charlm.results.comparison import Bracket, BracketPoint, RateFit
from charlm.results.tuning import Settings
from charlm.settings.values import parse_branches

GRID_POINTS = 401  # of rates at which the parabola is read


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


def judge_bracket(runs: Sequence[BracketRun], margin: float) -> tuple[Bracket, ...]:
    """Return for each cell which learning rate is best, and whether its recipe has another.

    Args:
        runs: Runs of the bracket, which have all ended, as have those that are compared.
        margin: Bits per character that another rate must gain for the recipe not to fit.
    """
    by_cell: dict[str, list[BracketRun]] = {}
    for run in runs:
        by_cell.setdefault(run.entry.name, []).append(run)
    return tuple(_judge_cell(own, margin, len(by_cell)) for own in by_cell.values())


def _judge_cell(runs: Sequence[BracketRun], margin: float, tests: int) -> Bracket:
    """Return the bracket of a cell, one of several that are tested."""
    entry, _, first = runs[0]
    seeds = [bits_at(run, Fraction(BRACKET_BRANCH)) for run in entry.runs]
    finished = [bits for bits in seeds if bits is not None]
    config, characters = entry.runs[0].config, first.config.characters
    rates = {1.0: config.learning_rate}
    bits_by_factor: dict[float, list[float]] = {1.0: finished}
    for _, factor, run in runs:
        bits = lowest_bits(run)
        rates[factor] = run.config.learning_rate
        bits_by_factor[factor] = [] if bits is None else [bits]
    by_recipe = apply_recipe(
        msgspec.structs.replace(config, learning_rate=0.0), first.parameters, characters
    )
    recipe_factor = by_recipe.learning_rate / config.learning_rate
    return Bracket(
        cell=entry.name,
        characters=characters,
        points=tuple(
            BracketPoint(
                factor=factor,
                learning_rate=rates[factor],
                bits=fmean(bits) if bits else None,
                seeds=len(bits),
            )
            for factor, bits in sorted(bits_by_factor.items())
        ),
        seed_std=stdev(finished) if len(finished) > 1 else None,
        recipe_rate=by_recipe.learning_rate,
        fit=fit_rates(bits_by_factor, recipe_factor, margin, tests),
    )


def fit_rates(
    bits_by_factor: Mapping[float, Sequence[float]], recipe: float, margin: float, tests: int
) -> RateFit | None:
    """Return the best rate by a parabola through the means of three rates.

    A run at any rate is as noisy as those of the seeds at the rate between. The interval is of
    the rates at which the slope may be zero. It ends at the rates that were tried.

    Args:
        bits_by_factor: Rate, over that of the compared runs -> bits of its seeds.
        recipe: Rate of the recipe for as many characters, over that of the compared runs.
        margin: Smallest relevant difference in bits.
        tests: That are corrected for.

    Returns:
        The fit; None if a rate has no finished run, or fewer than two seeds have.

    Source: Fieller (1954), "Some problems in interval estimation", for the interval.
    """
    seeds = bits_by_factor[1.0]
    if len(seeds) < 2 or not all(bits_by_factor.values()):
        return None
    factors = sorted(bits_by_factor)
    octaves = np.log2(factors)
    means = np.array([fmean(bits_by_factor[factor]) for factor in factors])
    variances = np.array([stdev(seeds) ** 2 / len(bits_by_factor[factor]) for factor in factors])
    to_coefficients = np.linalg.inv(np.vander(octaves, 3))
    # The last of the rates is the recipe's.
    rates = np.append(np.linspace(octaves[0], octaves[-1], GRID_POINTS), np.log2(recipe))
    curve = np.vander(rates, 3) @ to_coefficients @ means
    weights = np.stack([2 * rates, np.ones_like(rates), np.zeros_like(rates)], 1) @ to_coefficients
    critical = stdtrit(len(seeds) - 1, 1 - SIGNIFICANCE_LEVEL / tests / 2)
    bound = critical * np.sqrt(weights**2 @ variances)
    slope = weights @ means
    falls, rises = slope < -bound, slope > bound
    best = float(rates[curve.argmin()])
    low = min(best, max(rates[falls], default=octaves[0]))
    high = max(best, min(rates[rises], default=octaves[-1]))
    loss = float(curve[-1] - curve.min())
    return RateFit(
        best=2**best / recipe,
        ci_low=float(2**low) / recipe,
        ci_high=float(2**high) / recipe,
        loss=loss,
        recipe_fits=not (falls[-1] or rises[-1]) or loss <= margin,
    )
