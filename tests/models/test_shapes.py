"""Models of shapes alone: they equal those of real models, and load no compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from charlm.cells.names import CELL_NAMES
from charlm.config import validate_config
from charlm.models.build import build_char_lm
from charlm.models.cost import count_parameters_and_state
from charlm.models.shapes import meta_device

SIZES = {"hidden_size": 8, "embedding_dim": 4}
COUNT_ALL = f"""
import sys
from charlm.cells.names import CELL_NAMES
from charlm.config import validate_config
from charlm.models.cost import count_parameters_and_state
for cell in CELL_NAMES:
    count_parameters_and_state(validate_config({{"cell": cell, **{SIZES}}}), 10)
    assert not {{"sympy", "torch._dynamo"}} & sys.modules.keys(), cell
"""


def test_no_cell_loads_the_compiler_of_pytorch() -> None:
    subprocess.run([sys.executable, "-c", COUNT_ALL], check=True)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_shapes_are_those_of_a_real_model(cell: str) -> None:
    config = validate_config({"cell": cell, **SIZES})
    model = build_char_lm(config, 10, "loop", "cpu")
    count, _ = count_parameters_and_state(config, 10)
    assert count == sum(parameter.numel() for parameter in model.parameters())


def test_operations_have_the_shapes_that_pytorch_gives_them() -> None:
    def shapes() -> list[torch.Size]:
        x, row = torch.rand(3, 1), torch.randn(1, 4)
        made = [torch.eye(3), torch.eye(2, 5), torch.triu_indices(5, 4, 1), torch.randn((2, 3))]
        made += [torch.arange(7), torch.arange(1, 9, 2), torch.linspace(0, 1, 6), 2**x, 1 - row]
        made += [x * row, torch.where(x > 0, row, x), x.exp().div_(3), (x % 2 == 0) & (row == 1)]
        made += [row.repeat(2, 3, 1), torch.rand(3).repeat((2,)), torch.rand(3).repeat(2, 1)]
        made += [nn.init.eye_(torch.empty(3, 3)), nn.init.normal_(torch.empty(2, 7)), x.logit()]
        return [tensor.shape for tensor in made]

    with meta_device():
        found = shapes()
    assert found == shapes()
