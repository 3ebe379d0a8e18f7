"""The search of recipes: which rates it tries, that it goes on where it was, and the fit."""

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import prose

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """Return the modules, which import each other as scripts do."""
    sys.path.insert(0, str(SCRIPTS))
    yield {name: importlib.import_module(name) for name in ("recipes", "recipe_figures")}
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def search(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, list[Any]]]:
    """Return a search whose runs are computed, and the settings that it trained.

    The best rate is 0.005 at 100,000 parameters and 1.2 million characters. It falls with the
    square root of the size, and is twice as high for a quarter of the characters.
    """
    recipes, trained = scripts["recipes"], []

    def train(setting: Any, corpus: object) -> Any:
        trained.append(setting)
        best = 0.005 * (100_000 / setting.parameters) ** 0.5
        short, long = (math.log2(setting.learning_rate / rate) ** 2 for rate in (2 * best, best))
        return recipes.Outcome(3 + short, 2 + long, 98, 10, 1.0)

    monkeypatch.setattr(recipes, "train", train)
    made = recipes.Search({}, tmp_path / "runs.csv", math.inf)
    made.corpora = {"python-source": None}
    yield made, trained


def test_rates_are_added_until_the_best_is_no_end(
    scripts: dict[str, ModuleType], search: tuple[Any, list[Any]]
) -> None:
    made, trained = search
    start = scripts["recipes"].start_setting("gru", "python-source", 100_000)
    assert start.learning_rate == 0.01
    assert made.search_rate(start).learning_rate == 0.005
    assert sorted(run.learning_rate for run in trained) == [0.0025, 0.005, 0.01, 0.02]
    far = start._replace(learning_rate=0.08, seed=1)
    assert made.search_rate(far).learning_rate == 0.01  # three factors of 2 at most
    assert min(run.learning_rate for run in trained if run.seed == 1) == 0.01


def test_a_run_that_the_csv_has_is_not_trained_again(
    scripts: dict[str, ModuleType], search: tuple[Any, list[Any]]
) -> None:
    made, trained = search
    start = scripts["recipes"].start_setting("lstm", "python-source", 100_000)
    made.search_rate(start)
    count, outcomes = len(trained), made.outcomes
    again = scripts["recipes"].Search({}, made.path, 0.0)  # its time is up
    again.search_rate(start)
    assert (len(trained), again.outcomes) == (count, outcomes)
    with pytest.raises(TimeoutError):
        again.run(start._replace(seed=7))


def test_the_fit_finds_base_rates_and_exponents(
    scripts: dict[str, ModuleType], search: tuple[Any, list[Any]]
) -> None:
    made, _ = search
    for cell in ("gru", "lstm"):
        for size in (25_000, 100_000):
            made.search_rate(scripts["recipes"].start_setting(cell, "python-source", size))
    figures = scripts["recipe_figures"]
    rates, size, budget = figures.fit(figures.all_optima(made.outcomes))
    assert (size, budget) == pytest.approx((-0.5, -0.5), abs=1e-6)
    at_base = 0.005 * (1.2 / 1.25) ** 0.5
    assert rates == pytest.approx({("gru", "none"): at_base, ("lstm", "none"): at_base}, rel=0.01)


def test_a_run_gives_the_loss_at_both_budgets(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = scripts["recipes"]
    monkeypatch.setattr(recipes, "VALIDATION_STREAMS", 4)
    (tmp_path / "book.txt").write_text(prose(12_000))
    corpus = recipes.load_corpus(tmp_path / "book.txt")
    setting = recipes.start_setting("gru", "book", 3_000)._replace(characters=20_480)
    outcome = recipes.train(setting, corpus)
    assert 0 < outcome.long_bits < outcome.short_bits < math.log2(outcome.vocabulary)
    assert recipes.train(setting._replace(learning_rate=900.0), corpus).long_bits > 8
