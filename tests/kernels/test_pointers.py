"""Tests of the boundary of compiled code: what is not as it was compiled for is refused."""

import faulthandler
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

from charlm.cells.lstm import LSTM
from charlm.errors import CharlmError
from charlm.kernels.compiled import compiler, pointers, runtime
from charlm.kernels.compiled.linear import CompiledLinear, CompiledLinearMode
from charlm.kernels.compiled.pointers import KernelInputError, rows_pointer
from charlm.kernels.compiled.runtime import run_compiled
from charlm.kernels.compiled.single_token import CompiledTokenReader
from charlm.kernels.registry import get_kernel

pytestmark = pytest.mark.skipif(
    bool(compiler.unavailable_reason()), reason=compiler.unavailable_reason() or "-"
)
TIME, BATCH, UNITS, TOKENS = 4, 2, 4, 5
State = tuple[Tensor, ...]


def wide(
    units: int,
    batch: int = BATCH,
    count: int = 2,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> State:
    return tuple(torch.zeros(batch, units, dtype=dtype, device=device) for _ in range(count))


STATES: dict[str, State] = {
    "torch.float32 (2, 3) on cpu, and must be torch.float32 (2, 4)": wide(3),
    "torch.float32 (2, 5) on cpu": wide(5),
    "torch.float32 (2, 1) on cpu": wide(1),  # it would be broadcast
    "torch.float32 (1, 4) on cpu": wide(4, 1),
    "torch.float32 (9, 4) on cpu": wide(4, 9),
    "torch.float32 (2, 4, 1) on cpu": tuple(part[..., None] for part in wide(4)),
    "torch.float64 (2, 4) on cpu": wide(4, dtype=torch.float64),
    "torch.float32 (2, 4) on meta": wide(4, device="meta"),
    "1 tensors, and must be 2": wide(4, count=1),
    "3 tensors, and must be 2": wide(4, count=3),
}


@pytest.mark.parametrize("problem", STATES)
def test_wrong_state_is_refused_forwards_backwards_and_by_token(problem: str) -> None:
    cell, state = LSTM(3, UNITS), STATES[problem]
    message = f"cannot run the compiled kernel: the state is {problem}".replace("(", r"\(")
    unroll, x = get_kernel("compiled", cell, "cpu"), torch.randn(TIME, BATCH, 3)
    message = message.replace(")", r"\)")
    with pytest.raises(KernelInputError, match=message):
        unroll(cell, x, state, None)
    with torch.inference_mode(), pytest.raises(KernelInputError, match=message):
        unroll(cell, x, state, None)
    if len(state[0]) == BATCH:  # else these are other numbers of streams
        table = torch.randn(TOKENS, 4 * UNITS)
        with pytest.raises(KernelInputError, match=message):
            CompiledTokenReader(cell, table, state)
    assert issubclass(KernelInputError, CharlmError) and issubclass(KernelInputError, ValueError)


def changed_weight(cell: LSTM) -> None:
    cell.U.weight = nn.Parameter(torch.zeros(4 * UNITS, UNITS - 1))


def transposed_weight(cell: LSTM) -> None:
    cell.U.weight.data = torch.zeros(UNITS, 4 * UNITS)


def double_weight(cell: LSTM) -> None:
    cell.U.weight.data = cell.U.weight.data.double()


@pytest.mark.parametrize("change", [changed_weight, transposed_weight, double_weight])
def test_weight_changed_after_tracing_is_refused(change: Callable[[LSTM], None]) -> None:
    cell = LSTM(3, UNITS)
    unroll = get_kernel("compiled", cell, "cpu")
    reader = CompiledTokenReader(cell, torch.randn(TOKENS, 4 * UNITS), cell.initial_state(1))
    before = reader([0]).clone()
    state = cell.initial_state(BATCH)
    change(cell)
    with pytest.raises(KernelInputError, match="a matrix of weights is"):
        unroll(cell, torch.randn(TIME, BATCH, 3), state, None)
    with pytest.raises(KernelInputError, match="a matrix of weights is"):
        CompiledTokenReader(cell, torch.randn(TOKENS, 4 * UNITS), wide(UNITS, 1))
    reader.select([0])
    reader([0])  # it still has the memory of the weights that it began with
    assert torch.isfinite(before).all()


def test_wrong_projected_inputs_ids_and_tables_are_refused() -> None:
    cell = LSTM(3, UNITS)
    state, ids = cell.initial_state(BATCH), torch.zeros(TIME, BATCH, dtype=torch.int64)
    for Wx, given in ((torch.randn(TIME, BATCH, 15), None), (torch.randn(TOKENS, 17), ids)):
        for context in (torch.enable_grad(), torch.inference_mode()):
            with context, pytest.raises(KernelInputError, match="the projected input is"):
                run_compiled(cell, Wx, state, given)
    with pytest.raises(KernelInputError, match="the projected input is"):
        CompiledTokenReader(cell, torch.randn(TOKENS, 15), wide(UNITS, 1))


def test_what_hooks_make_of_saved_tensors_is_checked() -> None:
    cell = LSTM(3, UNITS)
    unroll = get_kernel("compiled", cell, "cpu")
    for change in (Tensor.double, lambda tensor: tensor[..., :1]):
        with torch.autograd.graph.saved_tensors_hooks(change, lambda tensor: tensor):
            outputs, _ = unroll(cell, torch.randn(TIME, BATCH, 3), cell.initial_state(BATCH), None)
        with pytest.raises(KernelInputError):
            outputs.sum().backward()


def test_linear_layers_check_their_tensors() -> None:
    x, weight = torch.randn(300, 3), torch.randn(4, 3)
    for bias in (torch.randn(1), torch.randn(3)):
        with pytest.raises(KernelInputError, match="the bias is"):
            CompiledLinear.apply(x, weight, bias)
    with pytest.raises(KernelInputError, match="the weight is .* strides"):
        CompiledLinear.apply(x, torch.randn(3, 4).t(), None)
    expected = nn.functional.linear(x, weight, torch.ones(1))  # PyTorch broadcasts it
    with CompiledLinearMode():
        torch.testing.assert_close(nn.functional.linear(x, weight, torch.ones(1)), expected)
    with pytest.raises(KernelInputError, match="contiguous rows"):
        rows_pointer(torch.randn(3, 4).t(), torch.float32, (4, 3), "the gradient")


def test_without_the_check_a_wrong_weight_is_a_segmentation_fault() -> None:
    """Only a process of its own can show what the check prevents."""
    cell = LSTM(3, UNITS)
    unroll, x, state = get_kernel("compiled", cell, "cpu"), torch.randn(TIME, 1, 3), wide(UNITS, 1)

    def end_of_fork(is_checked: bool) -> int:
        process = os.fork()
        if process == 0:
            with suppress(KernelInputError), torch.inference_mode():
                runtime.read_weights = lambda *_: [torch.zeros(0), torch.zeros(0)]
                if not is_checked:
                    pointers.check_tensor = lambda *_, **__: None
                    faulthandler.disable()
                unroll(cell, x, state, None)
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    assert end_of_fork(is_checked=True) == 0
    assert end_of_fork(is_checked=False) == -signal.SIGSEGV
