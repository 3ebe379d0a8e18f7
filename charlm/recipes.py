"""Recipes: the training settings that suit each cell, where the user leaves them open."""

from typing import Literal

import msgspec

from charlm.cells.names import cell_label
from charlm.config import Config

BASE_PARAMETERS = 100_000  # size and budget that `Recipe.learning_rate` is for
BASE_CHARACTERS = 1_250_000
SIZE_EXPONENT = -0.26  # how the best rate changes with parameters: see docs/explanation/recipes.md
BUDGET_EXPONENT = -0.35  # and with characters
# The search had 25,000 and 100,000 parameters, and 0.3 and 1.2 million characters. Further than a
# factor of 4 beyond, the rate no longer changes.
MIN_PARAMETERS, MAX_PARAMETERS = 6_250, 400_000
MIN_CHARACTERS, MAX_CHARACTERS = 75_000, 4_800_000


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Training settings of a cell, found by `scripts/recipes.py`."""

    learning_rate: float  # peak, for BASE_PARAMETERS and BASE_CHARACTERS
    block_learning_rate: float | None = None  # the same in residual blocks, if it was measured
    batch_size: int = 8
    grad_clip: float = 0.25
    recurrent_init: Literal["default", "orthogonal"] = "default"


RECIPES = {
    "attention": Recipe(learning_rate=0.0032),
    "clockwork": Recipe(learning_rate=0.0043),
    "cornn": Recipe(learning_rate=0.0049, recurrent_init="orthogonal"),
    "coupled-lstm": Recipe(learning_rate=0.0075, recurrent_init="orthogonal"),
    "deltanet": Recipe(learning_rate=0.012),
    "deltaproduct": Recipe(learning_rate=0.0037),
    "depth-gated-lstm": Recipe(learning_rate=0.0125, recurrent_init="orthogonal"),
    "fastgrnn": Recipe(learning_rate=0.011),
    "gated-deltanet": Recipe(learning_rate=0.0051),
    "gla": Recipe(learning_rate=0.013),
    "gru": Recipe(learning_rate=0.006, recurrent_init="orthogonal"),
    "gru-cho": Recipe(learning_rate=0.0059, recurrent_init="orthogonal"),
    "hgrn2": Recipe(learning_rate=0.011),
    "highway-rnn": Recipe(learning_rate=0.0107, recurrent_init="orthogonal"),
    "indrnn": Recipe(learning_rate=0.0036),
    "irnn": Recipe(learning_rate=0.0073),
    "janet": Recipe(learning_rate=0.0049, recurrent_init="orthogonal"),
    "layernorm-lstm": Recipe(learning_rate=0.012, recurrent_init="orthogonal"),
    "lem": Recipe(learning_rate=0.0053, recurrent_init="orthogonal"),
    "lru": Recipe(learning_rate=0.0052),
    "lstm": Recipe(learning_rate=0.0125, block_learning_rate=0.0056, recurrent_init="orthogonal"),
    "m2rnn": Recipe(learning_rate=0.0042),
    "mamba": Recipe(learning_rate=0.01),
    "mamba2": Recipe(learning_rate=0.012),
    "mamba3": Recipe(learning_rate=0.007),
    "matrix-lstm": Recipe(learning_rate=0.002),
    "mgu": Recipe(learning_rate=0.0054, recurrent_init="orthogonal"),
    "mingru": Recipe(learning_rate=0.0042),
    "minlstm": Recipe(learning_rate=0.0054),
    "mogrifier": Recipe(learning_rate=0.005, recurrent_init="orthogonal"),
    "mul-lstm": Recipe(learning_rate=0.0053, recurrent_init="orthogonal"),
    "orthogonal-rnn": Recipe(learning_rate=0.0062),
    "paragru": Recipe(learning_rate=0.0093),
    "paralstm": Recipe(learning_rate=0.0111),
    "peephole-lstm": Recipe(learning_rate=0.0071, recurrent_init="orthogonal"),
    "qrnn": Recipe(learning_rate=0.0027),
    "retnet": Recipe(learning_rate=0.0034),
    "rg-lru": Recipe(learning_rate=0.0039),
    "rnn": Recipe(learning_rate=0.0035, recurrent_init="orthogonal"),
    "rwkv7": Recipe(learning_rate=0.0082),
    "slstm": Recipe(learning_rate=0.0069),
    "sru": Recipe(learning_rate=0.0081),
}
CUSTOM_CELL = "gru"  # whose recipe a cell of one's own has


def get_recipe(label: str) -> Recipe:
    """Return the recipe of a cell, by its name in tables; an unknown cell has the GRU's."""
    return RECIPES.get(label, RECIPES[CUSTOM_CELL])


def apply_recipe(config: Config, parameters: int, characters: int) -> Config:
    """Return the config with every setting that is left to the recipe.

    Settings that have a value keep it. Only the class of a cell without a recipe knows whether
    there are recurrent matrices: for such a cell `recurrent_init` stays "recipe", which means
    orthogonal where there are any.

    Args:
        config: Settings of a run.
        parameters: Number of parameters of its model.
        characters: Characters that the run trains on.
    """
    label = cell_label(config.cell)
    recipe = get_recipe(label)
    initial = recipe.recurrent_init if label in RECIPES else "recipe"
    return msgspec.structs.replace(
        config,
        learning_rate=config.learning_rate
        or scaled_rate(recipe, config.block, parameters, characters),
        batch_size=config.batch_size or recipe.batch_size,
        grad_clip=config.grad_clip or recipe.grad_clip,
        recurrent_init=initial if config.recurrent_init == "recipe" else config.recurrent_init,
    )


def scaled_rate(recipe: Recipe, block: str, parameters: int, characters: int) -> float:
    """Return the peak learning rate for a form, a size and a budget, to three digits.

    Args:
        recipe: Recipe of the cell.
        block: "none" for a bare cell, or "residual".
        parameters: Number of parameters of the model.
        characters: Characters that the run trains on.
    """
    parameters = min(max(parameters, MIN_PARAMETERS), MAX_PARAMETERS)
    characters = min(max(characters, MIN_CHARACTERS), MAX_CHARACTERS)
    scale = (parameters / BASE_PARAMETERS) ** SIZE_EXPONENT
    scale *= (characters / BASE_CHARACTERS) ** BUDGET_EXPONENT
    rate = recipe.learning_rate
    if block == "residual" and recipe.block_learning_rate is not None:
        rate = recipe.block_learning_rate
    return float(f"{rate * scale:.3g}")
