"""Parts of the budget and other learning rates: order of cells, and whether recipes fit."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from comparison_plans import make_plan

from charlm.comparison import bracket, budget_report
from charlm.comparison.bracket import bracket_points, plan_bracket
from charlm.comparison.budget_report import bits_per_doubling, build_budget
from charlm.comparison.entries import PlannedRun
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.request import BRACKET_FACTORS
from charlm.results.comparison import BudgetPoint

THIRD = Fraction(1, 3)


@pytest.fixture
def plan(tmp_path: Path) -> ComparisonPlan:
    return make_plan(tmp_path, ("gru", "rnn"), 2, learning_rate=0.0)


def stub_bits(monkeypatch: pytest.MonkeyPatch, bits: dict[tuple[str, Fraction], float]) -> None:
    """Let runs have these bits, and 0.01 more with each further seed."""

    def bits_at(run: PlannedRun, fraction: Fraction) -> float | None:
        found = bits.get((run.config.cell, fraction))
        return None if found is None else found + 0.01 * run.config.seed

    monkeypatch.setattr(bracket, "bits_at", bits_at)
    monkeypatch.setattr(budget_report, "bits_at", bits_at)


def stub_bracket(monkeypatch: pytest.MonkeyPatch, bits: dict[float, float | None]) -> None:
    """Let runs of a bracket end with these bits, by their learning rate."""

    def run_of(path: Path) -> SimpleNamespace:
        found = bits[path_rates[path]]
        return SimpleNamespace(report=found and SimpleNamespace(best_valid_bits=found))

    path_rates: dict[Path, float] = {}
    original = bracket._at_rate

    def at_rate(run: PlannedRun, factor: float, plan: ComparisonPlan) -> PlannedRun:
        planned = original(run, factor, plan)
        path_rates[planned.path] = factor
        return planned

    monkeypatch.setattr(bracket, "_at_rate", at_rate)
    monkeypatch.setattr(bracket, "Run", run_of)


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


def test_other_rate_is_better_by_two_standard_deviations(
    plan: ComparisonPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {(cell, part): 2.0 for cell in ("gru", "rnn") for part in (THIRD, Fraction(1))}
    stub_bits(monkeypatch, ends)  # standard deviation of two seeds: 0.01 / sqrt 2
    stub_bracket(monkeypatch, {0.5: 1.98, 2.0: 1.99})
    points = bracket_points(plan_bracket(plan))
    assert {(point.factor, point.is_better) for point in points} == {(0.5, True), (2.0, False)}
    assert all(point.seed_std == pytest.approx(0.00707, abs=1e-4) for point in points)
    assert all(point.recipe_bits == 2.0 for point in points)


def test_diverged_bracket_is_no_better_and_a_diverged_recipe_is_worse(
    plan: ComparisonPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_bits(monkeypatch, {("gru", THIRD): 2.0, ("gru", Fraction(1)): 2.0})
    stub_bracket(monkeypatch, {0.5: None, 2.0: 1.9})
    points = {(point.cell, point.factor): point for point in bracket_points(plan_bracket(plan))}
    assert points["gru", 0.5].bits is None and not points["gru", 0.5].is_better
    assert points["gru", 2.0].is_better
    # Without any seed that is left, nothing says by how much seeds differ.
    assert points["rnn", 2.0].recipe_bits is None and points["rnn", 2.0].seed_std is None


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
