"""Small Transformer as a trained baseline, with the same parameters and characters as the cells.

It has its recipe and one run, the first seed, and is not judged.
"""

from collections.abc import Mapping

from charlm.comparison.budget_matching import cell_configs, match_budget
from charlm.config import Config
from charlm.models.cell_options import settings_for
from charlm.settings.values import Setting

CELL = "attention"
NUM_LAYERS = 4
PARAMETER_TOLERANCE = 0.02  # relative error of its parameters: so many layers grow in big steps
TRANSFORMER_OVERRIDES: Mapping[str, Setting] = {
    "block": "residual",
    "conv": 0,
    "num_layers": NUM_LAYERS,
    "branches": "",
    # attention has no such gate, kernel or recurrent matrix
    "forget_bias": "default",
    "kernel": "auto",
    "recurrent_init": "default",
    "weight_dropout": 0.0,
}


def transformer_config(
    settings: Mapping[str, Setting], seed: int, parameters: int, vocabulary_size: int
) -> tuple[Config, float]:
    """Return the config of its run, and the relative error of the number of parameters.

    Raises:
        ConfigError: No size has about as many parameters.
    """
    settings = {**settings_for(CELL, settings), **TRANSFORMER_OVERRIDES}  # without other cells' own
    match = match_budget(
        settings, [CELL], parameters, vocabulary_size, tolerance=PARAMETER_TOLERANCE, adjust=False
    )
    (config,) = cell_configs(settings, CELL, match.hidden_sizes[CELL], 1, seed)
    return config, match.relative_errors[CELL]
