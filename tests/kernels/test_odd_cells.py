"""Tests of kernels on legal but unusual cells: each equals the loop or is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import functional
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, State
from charlm.cells.linear_cell import LinearCell
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel, supported_kernels, unsupported_reason


class Odd(Cell):
    states = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.V = nn.Linear(hidden_size, hidden_size, bias=False)
        self.wide = nn.Linear(hidden_size, 2 * hidden_size + 1)
        self.b = nn.Parameter(torch.zeros(hidden_size))
        self.also_b = self.b
        self.one = nn.Parameter(torch.tensor(0.7))
        self.turned = nn.Linear(hidden_size, hidden_size, bias=False)
        self.turned.weight = nn.Parameter(torch.randn(hidden_size, hidden_size).t())
        self.strided = nn.Parameter(torch.randn(2 * hidden_size)[::2])
        self.register_buffer("whole", torch.arange(hidden_size))
        self.register_buffer("truth", torch.arange(hidden_size) % 2 == 0)


Step = Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
STEPS: dict[str, Step] = {
    "vector with two names": lambda m, x, h, c: (tanh(x + m.U(h) * m.b + m.also_b), h),
    "matrix reads two states": lambda m, x, h, c: (tanh(x + m.U(h) + m.U(c)), h),
    "matrix used in two ways": lambda m, x, h, c: (
        tanh(x + m.U(h) + m.V(h * c) + m.U(c)),
        0.5 * c + 0.3 * h,
    ),
    "matrix reads its own output": lambda m, x, h, c: (tanh(x + m.U(tanh(m.U(h)))), h),
    "part of a product unused": lambda m, x, h, c: (
        tanh(x + m.wide(h)[..., : h.shape[-1] if isinstance(h, Tensor) else h.width]),
        h,
    ),
    "multiplied by 0 and moved": lambda m, x, h, c: (
        tanh(x + torch.cat((0 * h, c), -1).chunk(2, -1)[0] + m.U(c)),
        h,
    ),
    "where as a method": lambda m, x, h, c: (tanh(x + m.U(h)).where(x > 0, h), c + 0.1),
    "equality": lambda m, x, h, c: (
        torch.where(torch.relu(m.U(h)) == 0, 0.3 * x, h),
        tanh(c),
    ),
    "maximum of equal states": lambda m, x, h, c: (tanh(x + m.U(torch.maximum(h, c))), h),
    "remainder by a parameter": lambda m, x, h, c: (tanh(x + torch.remainder(h, 1.5 + m.b)), h),
    "scalar parameter": lambda m, x, h, c: (tanh(x + m.one * m.U(h)), c * m.one),
    "non-contiguous weights": lambda m, x, h, c: (tanh(x + m.turned(h) + m.strided), h),
    "states swapped": lambda m, x, h, c: (tanh(x + m.U(c)), h),
    "state passed on": lambda m, x, h, c: (tanh(x + m.U(h) * c), c),
    "output is x": lambda m, x, h, c: (x, tanh(m.U(c) + h)),
    "both states equal": lambda m, x, h, c: (tanh(x + m.U(h) + c),) * 2,
    "state ignored": lambda m, x, h, c: (tanh(x), tanh(x)),
    "integer buffer": lambda m, x, h, c: (tanh(x + m.U(h) * m.whole), h),
    "boolean buffer": lambda m, x, h, c: (torch.where(m.truth, tanh(x + m.U(h)), h), c),
    "booleans added": lambda m, x, h, c: (tanh(m.U(h)) * ((h > 0) + (x > 0)), c),
    "concatenation along the batch": lambda m, x, h, c: tuple(m.U(torch.cat((h, c)) + 0).chunk(2)),
}
REFUSED = {
    "integer buffer": "whole, which has the dtype torch.int64",
    "boolean buffer": "a buffer of another dtype than floating point",
    "booleans added": "computes with boolean values",
    "concatenation along the batch": "along the batch",
}


def cell_with_step(step: Step) -> Cell:
    def call_step(self: Cell, Wx: Tensor, state: State) -> State:
        return step(self, Wx, *state)

    torch.manual_seed(0)
    cell = type("Own", (Odd,), {"step": call_step})(3, 6).double()
    for parameter in cell.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return cell


def results_and_gradients(cell: Cell, kernel: str, time: int, batch: int) -> list[Tensor]:
    torch.manual_seed(1)
    x = torch.randn(time, batch, cell.input_size).double().requires_grad_()
    # Both states start equal, as they usually do.
    start = tuple(torch.full_like(part, 0.2).requires_grad_() for part in cell.initial_state(batch))
    outputs, last = get_kernel(kernel, cell, "cpu")(cell, x, start, None)
    weights = [torch.randn_like(part) for part in (outputs, *last)]
    loss = sum((p * w).sum() for p, w in zip((outputs, *last), weights, strict=True))
    assert isinstance(loss, Tensor)
    given = [x, *start, *cell.parameters()]
    gradients = torch.autograd.grad(loss, given, allow_unused=True)
    zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(given, gradients, strict=True)]
    return [outputs, *last, *zeros]


@pytest.mark.parametrize(("time", "batch"), [(4, 3), (1, 1), (3, 17)])
@pytest.mark.parametrize("name", STEPS)
def test_compiled_step_equals_loop_or_is_refused(name: str, time: int, batch: int) -> None:
    cell = cell_with_step(STEPS[name])
    expected = results_and_gradients(cell, "loop", time, batch)
    reason = unsupported_reason("compiled", cell, "cpu")
    if name in REFUSED:
        assert REFUSED[name] in reason
    elif not reason.startswith("no C compiler"):
        assert not reason
        results = results_and_gradients(cell, "compiled", time, batch)
        assert_close(results, expected, rtol=0, atol=1e-9)


class Slower(Cell):
    """A cell with an attribute of the instance: each layer is slower than the one below."""

    rate = 0.9

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)

    @classmethod
    def make_upper_layer(cls, below: Cell) -> Cell:
        cell = cls(below.output_size, below.hidden_size)
        cell.rate = below.rate / 3  # type: ignore[attr-defined]
        return cell

    def step(self, Wx: Tensor, state: State) -> State:
        h = self.rate * state[0] + tanh(Wx + self.U(state[0]))
        return (h if self.training else 0.5 * h,)


def test_each_instance_is_traced_and_again_in_eval_mode() -> None:
    below = Slower(6, 6)
    above = Slower.make_upper_layer(below)
    x = torch.randn(5, 2, 6)
    for cell in (below, above, above.eval()):
        expected, _ = unroll_loop(cell, x, cell.initial_state(2))
        for kernel in supported_kernels(cell, "cpu"):
            outputs, _ = get_kernel(kernel, cell, "cpu")(cell, x, cell.initial_state(2), None)
            assert_close(outputs, expected, rtol=0, atol=1e-5)


class Sliced(Slower):
    def project_inputs(self, x: Tensor) -> Tensor:
        wide = torch.cat((self.W.weight, self.W.weight), dim=1)
        return functional.linear(x, wide[:, : self.input_size], self.W.bias)


def test_long_text_is_projected_by_a_slice_of_a_matrix() -> None:
    cell = Sliced(6, 6).double()
    x = torch.randn(200, 2, 6).double()
    expected = torch.autograd.grad(
        unroll_loop(cell, x, cell.initial_state(2))[0].sum(), cell.W.weight
    )
    for kernel in supported_kernels(cell, "cpu"):
        outputs, _ = get_kernel(kernel, cell, "cpu")(cell, x, cell.initial_state(2), None)
        assert_close(torch.autograd.grad(outputs.sum(), cell.W.weight), expected, rtol=0, atol=1e-9)


class Constant(LinearCell):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def coefficients(self, Wx: Tensor) -> tuple[Any, Tensor]:
        return 0.9, Wx


class Overridden(Constant):
    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = super().step(Wx, state)
        return (sigmoid(h),)


def test_scan_accepts_a_constant_and_refuses_another_step() -> None:
    cell = Constant(3, 4).double()
    x = torch.randn(7, 2, 3).double()
    outputs, _ = get_kernel("scan", cell, "cpu")(cell, x, cell.initial_state(2), None)
    assert_close(outputs, unroll_loop(cell, x, cell.initial_state(2))[0], rtol=0, atol=1e-12)
    assert "scan" not in supported_kernels(Overridden(3, 4), "cpu")
    assert "scan" in supported_kernels(CELLS["qrnn"](3, 4), "cpu")
