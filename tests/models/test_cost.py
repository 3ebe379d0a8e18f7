"""Tests of sizes that are computed without creating the model."""

import pytest
from conftest import TINY

from charlm.cells.names import CELL_NAMES
from charlm.config import validate_config
from charlm.models.build import build_char_lm
from charlm.models.cost import count_parameters_and_state


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_parameters_and_state_are_counted_without_a_model(cell: str) -> None:
    config = validate_config({**TINY, "cell": cell, "num_layers": 2, "initial_state": "learned"})
    parameters, state_size = count_parameters_and_state(config, 9)
    model = build_char_lm(config, 9, "loop", "cpu")
    assert parameters == sum(p.numel() for p in model.parameters())
    # An output that is only computed from the rest of the state is not carried.
    carried = [
        part for layer in model.cells for part in layer.initial_state(1)[layer.output_is_readout :]
    ]
    assert state_size == sum(part.numel() for part in carried)
