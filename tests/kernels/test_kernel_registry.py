"""Tests of the choice of a kernel."""

import pytest
import torch
from torch import Tensor, nn

from charlm.cells.base import CELLS, State
from charlm.cells.lstm import LSTM
from charlm.config import validate_config
from charlm.errors import ConfigError
from charlm.kernels.registry import (
    get_kernel,
    kernels_by_priority,
    supported_kernels,
    unsupported_reason,
)
from charlm.models.build import select_kernel
from charlm.reporting.wording.run import describe_kernel_reason
from charlm.results.run import KernelReason


@pytest.mark.parametrize(
    ("cell", "cpu", "cuda"),
    [
        ("lstm", ["compiled", "native", "loop"], ["native", "loop", "compiled"]),
        ("mingru", ["compiled", "scan", "loop"], ["scan", "loop", "compiled"]),
        ("lru", ["compiled", "scan", "loop"], ["scan", "loop", "compiled"]),
        ("irnn", ["compiled", "loop"], ["loop", "compiled"]),
        ("attention", ["compiled", "native", "loop"], ["native", "loop", "compiled"]),
    ],
)
def test_kernels_have_a_priority_per_device(cell: str, cpu: list[str], cuda: list[str]) -> None:
    cell_ = CELLS[cell](8, 8)
    assert kernels_by_priority(cell_, "cpu") == cpu
    assert kernels_by_priority(cell_, "cuda:1") == cuda
    assert "compiled" not in supported_kernels(cell_, "cuda")


def test_missing_kernel_is_an_error_and_never_another() -> None:
    with pytest.raises(
        ConfigError, match=r"cannot use --kernel native: IRNN has no native kernel\. Try .*loop"
    ):
        get_kernel("native", CELLS["irnn"](5, 7), "cpu")
    with pytest.raises(ConfigError, match="unknown kernel 'warp'\\. Try one of .*loop, "):
        get_kernel("warp", LSTM(5, 7), "cpu")


def test_subclass_with_another_step_has_no_native_kernel() -> None:
    class Louder(LSTM):
        def step(self, Wx: Tensor, state: State) -> State:
            h, c = super().step(Wx, state)
            return 2 * h, c

    cell = Louder(3, 4)
    assert "native" not in supported_kernels(cell, "cpu")
    assert "no native kernel" in unsupported_reason("native", cell, "cpu")


def test_subclass_with_other_weights_has_no_native_kernel() -> None:
    class Biased(LSTM):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.U = nn.Linear(hidden_size, 4 * hidden_size)

    assert "native" not in supported_kernels(Biased(3, 4), "cpu")


def test_compiled_kernel_refuses_bfloat16() -> None:
    cell = LSTM(3, 4).bfloat16()
    assert next(cell.parameters()).dtype == torch.bfloat16
    assert "in torch.bfloat16" in unsupported_reason("compiled", cell, "cpu")


def test_several_threads_choose_the_native_kernel() -> None:
    choice = select_kernel(validate_config({"cell": "gru", "threads": 2}))
    assert choice == ("native", KernelReason("threads"))
    assert "all 2 threads" in describe_kernel_reason(choice.reason, 2)
    assert select_kernel(validate_config({"cell": "sru", "threads": 2})).name != "native"
