"""Budget of a comparison: the order of cells at parts of it, and what more would bring."""

import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import fmean

from charlm.comparison.bracket import judge_bracket, plan_bracket
from charlm.comparison.entries import Entry
from charlm.comparison.learning import bits_at
from charlm.comparison.plan import ComparisonPlan
from charlm.results.comparison import Budget, BudgetPoint
from charlm.settings.values import parse_branches


def build_budget(plan: ComparisonPlan, entries: Sequence[Entry]) -> Budget:
    """Return learning at parts of the budget and at other rates, of runs that have all ended.

    Args:
        plan: The plan.
        entries: Its entries, as tuned.
    """
    points = budget_points(entries, plan.characters)
    rankings = {point.ranking for point in points}
    can_change = len(points) > 1 and all(len(point.ranking) > 1 for point in points)
    return Budget(
        points=points,
        order_is_stable=len(rankings) == 1 if can_change else None,
        bits_per_doubling=bits_per_doubling(points),
        bracket=judge_bracket(plan_bracket(plan), plan.request.margin),
        gradient_reach=min(run.config.seq_len for entry in entries for run in entry.runs),
    )


def budget_points(entries: Sequence[Entry], characters: int) -> tuple[BudgetPoint, ...]:
    """Return the validation of all entries where every run has a branch, and at the end."""
    branches = [
        set(parse_branches(run.config.branches))
        for entry in entries
        if entry.role == "cell"
        for run in entry.runs
    ]
    fractions = sorted(set.intersection(*branches))
    return tuple(_point(entries, fraction, characters) for fraction in (*fractions, Fraction(1)))


def _point(entries: Sequence[Entry], fraction: Fraction, characters: int) -> BudgetPoint:
    bits: dict[str, float | None] = {}
    for entry in entries:
        known = [value for run in entry.runs if (value := bits_at(run, fraction)) is not None]
        bits[entry.name] = fmean(known) if known else None
    cells = [entry.name for entry in entries if entry.role == "cell"]
    found = {name: value for name in cells if (value := bits[name]) is not None}
    return BudgetPoint(
        fraction=float(fraction),
        characters=round(fraction * characters),
        bits=dict(sorted(bits.items())),  # whatever the order of --cells
        ranking=tuple(sorted(found, key=lambda name: (found[name], name))),
    )


def bits_per_doubling(points: Sequence[BudgetPoint]) -> dict[str, float]:
    """Return entry -> bits that each doubling brought between the last two points."""
    if len(points) < 2:
        return {}
    before, after = points[-2:]
    doublings = math.log2(after.fraction / before.fraction)
    return {
        name: (earlier - later) / doublings
        for name, later in after.bits.items()
        if later is not None and (earlier := before.bits[name]) is not None
    }
