"""Small Transformer as a trained baseline, with the same parameters and steps as the cells.

It is trained and tuned as they are, with the same seeds and data order, and not judged.
"""

from collections.abc import Mapping

from charlm.comparison.budget_matching import cell_configs, match_budget
from charlm.config import Config
from charlm.results.tuning import Setting

CELL = "attention"
NUM_LAYERS = 4
PARAMETER_TOLERANCE = 0.02  # relative error of its parameters: so many layers grow in big steps
TRANSFORMER_OVERRIDES: Mapping[str, Setting] = {
    "block": "residual",
    "num_layers": NUM_LAYERS,
    # attention has no such gate, kernel or recurrent matrix
    "forget_bias": "default",
    "kernel": "auto",
    "recurrent_init": "default",
    "weight_dropout": 0.0,
}


def transformer_configs(
    settings: Mapping[str, Setting], seeds: int, parameters: int, vocabulary_size: int
) -> tuple[list[Config], float]:
    """Return the config of each seed, and the relative error of the number of parameters.

    Raises:
        ConfigError: No size has about as many parameters.
    """
    settings = {**settings, **TRANSFORMER_OVERRIDES}
    match = match_budget(
        settings, [CELL], parameters, vocabulary_size, tolerance=PARAMETER_TOLERANCE, adjust=False
    )
    configs = cell_configs(settings, CELL, match.hidden_sizes[CELL], seeds)
    return configs, match.relative_errors[CELL]
