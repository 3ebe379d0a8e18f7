"""FLOPs of a model are those that PyTorch counts."""

from typing import Any

import msgspec
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from charlm.cells.base import CELLS
from charlm.config import validate_config
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
    assert flops_per_character(config, 90, kind) == counter.get_total_flops()
