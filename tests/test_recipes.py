"""Recipes: every cell has one, and it fills what the user leaves open."""

import msgspec
import pytest

from charlm.cells.names import CELL_NAMES
from charlm.config import Config, validate_config
from charlm.recipes import (
    BASE_CHARACTERS,
    BASE_PARAMETERS,
    BUDGET_EXPONENT,
    CUSTOM_CELL,
    MAX_CHARACTERS,
    MAX_PARAMETERS,
    MIN_CHARACTERS,
    MIN_PARAMETERS,
    RECIPES,
    SIZE_EXPONENT,
    apply_recipe,
    get_recipe,
    scaled_rate,
)

OPEN = {"learning_rate", "batch_size", "grad_clip", "recurrent_init"}


def test_every_cell_has_a_recipe() -> None:
    assert sorted(RECIPES) == CELL_NAMES


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_recipes_are_settings_that_a_run_may_have(cell: str) -> None:
    config = apply_recipe(validate_config({"cell": cell}), BASE_PARAMETERS, BASE_CHARACTERS)
    assert config == validate_config(msgspec.structs.asdict(config))
    assert all(getattr(config, name) == getattr(RECIPES[cell], name) for name in OPEN)


def test_settings_that_are_given_stay() -> None:
    given = {"learning_rate": 0.5, "batch_size": 3, "grad_clip": 7.0, "recurrent_init": "default"}
    config = validate_config({"cell": "gru", "hidden_size": 9, **given})
    assert apply_recipe(config, 1_000, 1_000) == config


def test_only_open_settings_change_and_applying_twice_changes_nothing() -> None:
    config = validate_config({"cell": "rnn", "seed": 5})
    applied = apply_recipe(config, 40_000, 700_000)
    before, after = map(msgspec.structs.asdict, (config, applied))
    assert {name for name in before if before[name] != after[name]} == OPEN
    assert apply_recipe(applied, 9, 9) == applied


def test_a_cell_of_ones_own_has_the_recipe_of_the_gru() -> None:
    assert get_recipe("my.Cell") == RECIPES[CUSTOM_CELL] == RECIPES["gru"]
    own = apply_recipe(validate_config({"cell": "my.py:Cell"}), 50_000, 400_000)
    gru = apply_recipe(validate_config({"cell": "gru"}), 50_000, 400_000)
    # Whether there is a matrix to make orthogonal, only the class of the cell knows.
    assert own == msgspec.structs.replace(gru, cell="my.py:Cell", recurrent_init="recipe")


def test_the_rate_scales_with_size_and_budget() -> None:
    recipe = RECIPES["lstm"]
    assert scaled_rate(recipe, "none", BASE_PARAMETERS, BASE_CHARACTERS) == recipe.learning_rate
    larger = scaled_rate(recipe, "none", 4 * BASE_PARAMETERS, BASE_CHARACTERS)
    assert larger == pytest.approx(recipe.learning_rate * 4**SIZE_EXPONENT, rel=0.01)
    longer = scaled_rate(recipe, "none", BASE_PARAMETERS, 3 * BASE_CHARACTERS)
    assert longer == pytest.approx(recipe.learning_rate * 3**BUDGET_EXPONENT, rel=0.01)


def test_a_rate_that_was_measured_in_blocks_is_used_there_alone() -> None:
    settings = {"cell": "lstm", "block": "residual"}
    in_blocks = apply_recipe(validate_config(settings), BASE_PARAMETERS, BASE_CHARACTERS)
    bare = apply_recipe(validate_config({"cell": "lstm"}), BASE_PARAMETERS, BASE_CHARACTERS)
    assert in_blocks.learning_rate == RECIPES["lstm"].block_learning_rate
    assert bare.learning_rate == RECIPES["lstm"].learning_rate
    gru = apply_recipe(
        validate_config({"cell": "gru", "block": "residual"}), BASE_PARAMETERS, BASE_CHARACTERS
    )
    assert gru.learning_rate == RECIPES["gru"].learning_rate  # none was measured


def test_the_rate_is_not_extrapolated_far() -> None:
    recipe = RECIPES["lstm"]
    largest = scaled_rate(recipe, "none", MAX_PARAMETERS, MAX_CHARACTERS)
    assert scaled_rate(recipe, "none", 10**9, 10**12) == largest < recipe.learning_rate
    smallest = scaled_rate(recipe, "none", MIN_PARAMETERS, MIN_CHARACTERS)
    assert scaled_rate(recipe, "none", 1, 1) == smallest > recipe.learning_rate


def test_the_rate_has_three_digits() -> None:
    rate = apply_recipe(Config(cell="gru"), 12_345, 678_901).learning_rate
    assert rate == float(f"{rate:.3g}")
