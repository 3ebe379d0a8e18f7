"""Models of shapes alone: they equal those of real models, and load no compiler."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

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
    count, state_size = count_parameters_and_state(config, 10)
    assert count == sum(parameter.numel() for parameter in model.parameters())
    carried = [
        part for layer in model.cells for part in layer.initial_state(1)[layer.output_is_readout :]
    ]
    assert state_size == sum(part.numel() for part in carried)


FACTORY_CALLS: list[Callable[[], Tensor]] = [
    lambda: torch.eye(3),
    lambda: torch.eye(2, 5, dtype=torch.float64),
    lambda: torch.eye(n=3),
    lambda: torch.eye(2, 3, out=torch.empty(2, 3)),
    lambda: torch.eye(3, 0),
    lambda: torch.triu_indices(5, 4, 1),
    lambda: torch.triu_indices(4, 4, offset=1),
    lambda: torch.triu_indices(row=4, col=3),
    lambda: torch.randn((2, 3)),
    lambda: torch.randn(2, 3, requires_grad=True),
    lambda: torch.randn(size=(2, 3)),
    lambda: torch.arange(7),
    lambda: torch.arange(end=7),
    lambda: torch.arange(1, 9, 2),
    lambda: torch.arange(1, 9, step=2),
    lambda: torch.arange(1.0, 4),
    lambda: torch.arange(4, dtype=torch.float64),
    lambda: torch.linspace(0, 1, 6),
    lambda: torch.linspace(0.1, 1, steps=6),
    lambda: torch.linspace(start=0, end=1, steps=6, dtype=torch.float64),
    lambda: torch.ones(5)[torch.arange(5)],
    lambda: torch.ones(5, 5)[tuple(torch.triu_indices(5, 5))],
]
POINTWISE_CALLS: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda x, row: x * row,
    lambda x, row: 2**x - (1 - row),
    lambda x, row: torch.where(x > 0, row, x),
    lambda x, row: torch.where(x > row, 1.0, 0.0),
    lambda x, row: x > row,
    lambda x, row: (x % 2 == 0) & (row == 1),
    lambda x, row: x.double() * row,
    lambda x, row: torch.arange(4) * 2,
    lambda x, row: torch.arange(4) / 2,
    lambda x, row: torch.arange(4) * row,
    lambda x, row: torch.arange(4).exp(),
    lambda x, row: torch.ones(5)[torch.arange(4) + 1],
    lambda x, row: x.exp().div_(3),
    lambda x, row: x.logit(eps=0.1).clamp(max=1),
    lambda x, row: row.repeat(2, 3, 1),
    lambda x, row: (row > 0).repeat((2, 1)),
    lambda x, row: torch.arange(3).repeat(repeats=(2, 1)),
    lambda x, row: nn.init.eye_(torch.empty(3, 3)),
    lambda x, row: nn.init.uniform_(torch.empty(2, 7), -1, b=1),
]


def is_same(found: Tensor, expected: Tensor) -> bool:
    both = (found, expected)
    shapes, dtypes, gradients = zip(
        *((t.shape, t.dtype, t.requires_grad) for t in both), strict=True
    )
    return found.is_meta and all(len({*values}) == 1 for values in (shapes, dtypes, gradients))


@pytest.mark.parametrize("number", range(len(FACTORY_CALLS)))
def test_factories_have_the_shapes_and_dtypes_that_pytorch_gives_them(number: int) -> None:
    with meta_device():
        found = FACTORY_CALLS[number]()
    assert is_same(found, FACTORY_CALLS[number]())


@pytest.mark.parametrize("number", range(len(POINTWISE_CALLS)))
def test_operations_have_the_shapes_and_dtypes_that_pytorch_gives_them(number: int) -> None:
    def call() -> Tensor:
        return POINTWISE_CALLS[number](torch.rand(3, 1), torch.randn(1, 4))

    with meta_device():
        found = call()
    assert is_same(found, call())


def test_tensor_on_another_device_keeps_its_numbers() -> None:
    with meta_device():
        found = 2 * torch.arange(3, device="cpu") + 1
    assert found.tolist() == [1, 3, 5]
