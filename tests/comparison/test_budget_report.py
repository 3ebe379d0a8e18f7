"""Parts of the budget and other learning rates: order of cells, and whether recipes fit."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from comparison_plans import make_plan

from charlm.comparison import bracket, budget_report
from charlm.comparison.bracket import judge_bracket, plan_bracket
from charlm.comparison.budget_report import bits_per_doubling, build_budget
from charlm.comparison.entries import PlannedRun
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.request import BRACKET_FACTORS
from charlm.recipes import BUDGET_EXPONENT
from charlm.results.comparison import Bracket, BudgetPoint

THIRD = Fraction(1, 3)


@pytest.fixture
def plan(tmp_path: Path) -> ComparisonPlan:
    return make_plan(tmp_path, ("gru", "rnn"), 2, learning_rate=0.0)


def stub_bits(monkeypatch: pytest.MonkeyPatch, bits: dict[tuple[str, Fraction], float]) -> None:
    """Let runs have these bits, and 0.01 more with each further seed: a deviation of 0.0187."""

    def bits_at(run: PlannedRun, fraction: Fraction) -> float | None:
        found = bits.get((run.config.cell, fraction))
        return None if found is None else found + 0.01 * run.config.seed

    monkeypatch.setattr(bracket, "bits_at", bits_at)
    monkeypatch.setattr(budget_report, "bits_at", bits_at)


def stub_bracket(monkeypatch: pytest.MonkeyPatch, bits: dict[float, float | None]) -> None:
    """Let runs of a bracket end with these bits, by their learning rate over the recipe's."""

    factors: dict[Path, float] = {}
    original = bracket._at_rate

    def at_rate(run: PlannedRun, factor: float, plan: ComparisonPlan) -> PlannedRun:
        planned = original(run, factor, plan)
        factors[planned.path] = factor
        return planned

    monkeypatch.setattr(bracket, "_at_rate", at_rate)
    monkeypatch.setattr(bracket, "lowest_bits", lambda run: bits[factors[run.path]])


def judge(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    bits: tuple[float | None, float | None, float | None],
    *,
    margin: float = 0.01,
    **fields: Any,
) -> Bracket:
    """Return the bracket of the GRU with these bits at half, one and twice its rate."""
    settings = {"seeds": 6, "learning_rate": 0.0, "max_steps": 27_000}  # recipes scale there
    plan = make_plan(directory, ("gru",), **{**settings, **fields})
    low, own, high = bits
    mean_of_seeds = 0.025 if plan.request.seeds == 6 else 0.0
    stub_bits(monkeypatch, {} if own is None else {("gru", THIRD): own - mean_of_seeds})
    stub_bracket(monkeypatch, {0.5: low, 2.0: high})
    (found,) = judge_bracket(plan_bracket(plan), margin)
    return found


def parabola(best: float, curvature: float = 0.2) -> tuple[float, float, float]:
    """Return the bits at half, one and twice a rate, of which `best` is the best multiple."""
    low, own, high = (2.0 + curvature * (math.log2(f / best)) ** 2 for f in (0.5, 1, 2))
    return low, own, high


def test_bracket_reads_a_third_at_other_rates_without_scores(plan: ComparisonPlan) -> None:
    planned = plan_bracket(plan)
    assert [(one.entry.name, one.factor) for one in planned] == [
        (cell, factor) for factor in BRACKET_FACTORS for cell in ("gru", "rnn")
    ]
    for entry, factor, run in planned:
        recipe = entry.runs[0]
        assert run.config.learning_rate == pytest.approx(factor * recipe.config.learning_rate)
        assert run.max_steps == round(recipe.max_steps / 3)
        assert run.config.final_eval == "none" and not run.config.branches
        assert run.config.seed == recipe.config.seed and run.path.parent.name == "bracket"


def test_no_bracket_where_rates_are_given(tmp_path: Path) -> None:
    assert plan_bracket(make_plan(tmp_path, learning_rate=0.01)) == []


def test_recipe_for_a_third_of_the_characters_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate of the runs is lower, so twice that rate may be better without any fault."""
    shift = float((1 / 3) ** BUDGET_EXPONENT)
    found = judge(tmp_path, monkeypatch, parabola(shift))
    assert found.points[2].bits < found.points[1].bits - 0.01  # type: ignore[operator]
    assert found.recipe_rate == pytest.approx(shift * found.points[1].learning_rate, rel=0.01)
    assert found.fit is not None and found.fit.recipe_fits
    assert found.fit.best == pytest.approx(1, abs=0.01)
    assert found.fit.ci_low < 1 < found.fit.ci_high
    assert found.fit.loss == pytest.approx(0, abs=1e-4)
    assert [point.seeds for point in found.points] == [1, 6, 1]
    assert found.seed_std == pytest.approx(0.0187, abs=1e-4)


def test_recipe_that_is_twice_too_high_or_too_low_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = float((1 / 3) ** BUDGET_EXPONENT)
    too_high = judge(tmp_path, monkeypatch, parabola(shift / 2)).fit
    too_low = judge(tmp_path, monkeypatch, parabola(shift * 2)).fit
    assert too_high is not None and not too_high.recipe_fits and too_high.ci_high < 1
    assert too_high.best == pytest.approx(0.5, abs=0.01)
    assert too_high.loss == pytest.approx(0.2, abs=0.01)
    assert too_low is not None and not too_low.recipe_fits and too_low.ci_low > 1
    assert too_low.best == too_low.ci_high == pytest.approx(2 / shift, abs=0.01)  # the highest


def test_noise_of_seeds_and_margin_keep_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = parabola(0.7, curvature=0.05)
    assert not judge(tmp_path, monkeypatch, bits).fit.recipe_fits  # type: ignore[union-attr]
    of_two = judge(tmp_path, monkeypatch, bits, seeds=2).fit
    assert of_two is not None and of_two.recipe_fits
    wide = judge(tmp_path, monkeypatch, bits, margin=1.0).fit
    assert wide is not None and wide.recipe_fits and wide.ci_high < 1


def test_fit_is_unknown_of_one_seed_and_where_runs_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = judge(tmp_path, monkeypatch, parabola(1), seeds=1)
    assert alone.fit is None and alone.seed_std is None
    diverged = judge(tmp_path, monkeypatch, (2.1, 2.0, None))
    assert diverged.fit is None and diverged.seed_std is not None
    assert diverged.points[2].bits is None and diverged.points[2].seeds == 0
    lost = judge(tmp_path, monkeypatch, (2.1, None, 2.1))
    assert lost.fit is None and lost.points[1].bits is None


def test_all_seeds_have_the_branch_of_the_bracket(tmp_path: Path) -> None:
    (entry,) = make_plan(tmp_path, ("gru",), learning_rate=0.0, branches="1/2").entries
    assert {run.config.branches for run in entry.runs} == {"1/3,1/2"}
    (entry,) = make_plan(tmp_path, ("gru",), learning_rate=0.01, branches="1/2").entries
    assert {run.config.branches for run in entry.runs} == {"1/2"}
    assert plan_bracket(make_plan(tmp_path, learning_rate=0.0, branches="")) == []


def test_budget_says_whether_the_order_changes_and_what_a_doubling_brings(
    plan: ComparisonPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    eighth, whole = Fraction(1, 8), Fraction(1)
    gru = {eighth: 3.0, THIRD: 2.5, whole: 2.0}
    rnn = {eighth: 2.9, THIRD: 2.6, whole: 2.4}
    bits = {("gru", part): value for part, value in gru.items()}
    bits |= {("rnn", part): value for part, value in rnn.items()}
    stub_bits(monkeypatch, bits)
    stub_bracket(monkeypatch, {0.5: 3.0, 2.0: 3.0})
    budget = build_budget(plan, plan.entries)
    assert [point.fraction for point in budget.points] == [1 / 8, 1 / 3, 1]
    assert [point.ranking for point in budget.points] == [
        *(("rnn", "gru"), ("gru", "rnn"), ("gru", "rnn"))
    ]
    assert budget.order_is_stable is False and budget.points[-1].characters == plan.characters
    assert budget.bits_per_doubling["gru"] == pytest.approx(0.5 / 1.58496, abs=1e-4)
    assert budget.gradient_reach == 16
    stub_bits(monkeypatch, {**bits, ("rnn", eighth): 3.1})
    assert build_budget(plan, plan.entries).order_is_stable is True
    lost = {key: value for key, value in bits.items() if key[0] == "gru"}
    stub_bits(monkeypatch, lost)
    assert build_budget(plan, plan.entries).order_is_stable is None


def test_one_point_has_no_doubling() -> None:
    point = BudgetPoint(fraction=1.0, characters=9, bits={"gru": 2.0}, ranking=("gru",))
    assert bits_per_doubling([point]) == {}
