"""FLOPs of a model are those that PyTorch counts."""

import math
from typing import Any

import msgspec
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from charlm.cells.base import CELLS
from charlm.config import Config, validate_config
from charlm.models.char_lm import CharLM
from charlm.models.cost import flops_per_character
from charlm.models.recurrent import ModelFactory
from charlm.models.regressor import RecurrentRegressor


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 8},
        {"hidden_size": 40, "num_layers": 2, "initial_state": "learned"},
        {
            "hidden_size": 40,
            "embedding_dim": 40,
            "tie_weights": True,
            "num_layers": 2,
            "block": "residual",
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [CharLM, RecurrentRegressor])
def test_flops_are_those_that_pytorch_counts(
    kind: ModelFactory[CharLM], settings: dict[str, Any], cell: str
) -> None:
    config = validate_config({"embedding_dim": 8, **settings, "cell": cell})
    if kind is RecurrentRegressor:
        config = msgspec.structs.replace(config, tie_weights=False)
    if cell == "depth-gated-lstm" and config.block == "residual":
        return  # it cannot be in a residual block
    model = kind(config, 90, "loop", "cpu")
    x = torch.zeros(1, 1, dtype=torch.long) if kind is CharLM else torch.zeros(1, 1, 90)
    with FlopCounterMode(display=False) as counter:
        model(x, model.initial_state(1))
    with FlopCounterMode(display=False) as shared:  # by all steps of an unroll
        for each in model.cells:
            each.prepared()
    total = counter.get_total_flops() - shared.get_total_flops()
    if cell == "clockwork":  # PyTorch computes all modules at every step
        total -= idle_flops(config)
    assert flops_per_character(config, 90, kind) == total


def idle_flops(config: Config) -> int:
    """Return the FLOPs that PyTorch spends on modules of a clockwork RNN that are not due."""
    size, idle = config.hidden_size // 8, 0
    for layer in range(config.num_layers):
        is_lowest = layer == 0 and config.block == "none"
        inputs = config.embedding_dim if is_lowest else config.hidden_size
        # Module k reads itself and the 7 - k slower ones, every 2^k steps.
        modules = [(1 - 2**-k) * 2 * size * (inputs + (8 - k) * size) for k in range(8)]
        idle += math.ceil(sum(modules))
    return idle
