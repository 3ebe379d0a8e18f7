"""Legal cells that nobody would write, until somebody does: every kernel is still the loop."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn import functional
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, LinearCell, State
from charlm.cells.lstm import LSTM
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel, supported_kernels, unsupported_reason


class Odd(Cell):
    states = ("h", "c")

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)
        self.U = nn.Linear(hidden, hidden, bias=False)
        self.V = nn.Linear(hidden, hidden, bias=False)
        self.wide = nn.Linear(hidden, 2 * hidden + 1)
        self.b = nn.Parameter(torch.zeros(hidden))
        self.also_b = self.b
        self.one = nn.Parameter(torch.tensor(0.7))
        self.turned = nn.Linear(hidden, hidden, bias=False)
        self.turned.weight = nn.Parameter(torch.randn(hidden, hidden).t())
        self.strided = nn.Parameter(torch.randn(2 * hidden)[::2])
        self.register_buffer("whole", torch.arange(hidden))
        self.register_buffer("truth", torch.arange(hidden) % 2 == 0)


Step = Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
STEPS: dict[str, Step] = {
    "a vector has two names": lambda m, x, h, c: (tanh(x + m.U(h) * m.b + m.also_b), h),
    "a matrix reads two states": lambda m, x, h, c: (tanh(x + m.U(h) + m.U(c)), h),
    "a matrix is used in two ways": lambda m, x, h, c: (
        tanh(x + m.U(h) + m.V(h * c) + m.U(c)),
        0.5 * c + 0.3 * h,
    ),
    "a matrix reads what it wrote": lambda m, x, h, c: (tanh(x + m.U(tanh(m.U(h)))), h),
    "part of a product is not used": lambda m, x, h, c: (
        tanh(x + m.wide(h)[..., : h.shape[-1] if isinstance(h, Tensor) else h.width]),
        h,
    ),
    "it is multiplied by 0 and moved": lambda m, x, h, c: (
        tanh(x + torch.cat((0 * h, c), -1).chunk(2, -1)[0] + m.U(c)),
        h,
    ),
    "where is a method": lambda m, x, h, c: (tanh(x + m.U(h)).where(x > 0, h), c + 0.1),
    "equality is asked": lambda m, x, h, c: (
        torch.where(torch.relu(m.U(h)) == 0, 0.3 * x, h),
        tanh(c),
    ),
    "states are equal": lambda m, x, h, c: (tanh(x + m.U(torch.maximum(h, c))), h),
    "a remainder is learnt": lambda m, x, h, c: (tanh(x + torch.remainder(h, 1.5 + m.b)), h),
    "a number is learnt": lambda m, x, h, c: (tanh(x + m.one * m.U(h)), c * m.one),
    "weights do not lie in order": lambda m, x, h, c: (tanh(x + m.turned(h) + m.strided), h),
    "states change places": lambda m, x, h, c: (tanh(x + m.U(c)), h),
    "a state is handed on": lambda m, x, h, c: (tanh(x + m.U(h) * c), c),
    "the output is x": lambda m, x, h, c: (x, tanh(m.U(c) + h)),
    "both states are one": lambda m, x, h, c: (tanh(x + m.U(h) + c),) * 2,
    "nothing is read of the state": lambda m, x, h, c: (tanh(x), tanh(x)),
    "integers are kept": lambda m, x, h, c: (tanh(x + m.U(h) * m.whole), h),
    "truths are kept": lambda m, x, h, c: (torch.where(m.truth, tanh(x + m.U(h)), h), c),
    "truths are added": lambda m, x, h, c: (tanh(m.U(h)) * ((h > 0) + (x > 0)), c),
    "the batch is joined": lambda m, x, h, c: tuple(m.U(torch.cat((h, c)) + 0).chunk(2)),
}
REFUSED = {
    "integers are kept": "whole, which is of torch.int64",
    "truths are kept": "holds no real numbers",
    "truths are added": "computes with truths",
    "the batch is joined": "along the batch",
}


def of(step: Step) -> Cell:
    def walk(self: Cell, Wx: Tensor, state: State) -> State:
        return step(self, Wx, *state)

    torch.manual_seed(0)
    cell = type("Own", (Odd,), {"step": walk})(3, 6).double()
    for parameter in cell.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return cell


def everything(cell: Cell, kernel: str, time: int, batch: int) -> list[Tensor]:
    torch.manual_seed(1)
    x = torch.randn(time, batch, cell.input_size).double().requires_grad_()
    # Both states begin equal: a tie, as at every start.
    start = tuple(torch.full_like(part, 0.2).requires_grad_() for part in cell.initial_state(batch))
    outputs, last = get_kernel(kernel, cell, "cpu")(cell, x, start, None)
    weights = [torch.randn_like(part) for part in (outputs, *last)]
    loss = sum((p * w).sum() for p, w in zip((outputs, *last), weights, strict=True))
    assert isinstance(loss, Tensor)
    given = [x, *start, *cell.parameters()]
    found = torch.autograd.grad(loss, given, allow_unused=True)
    zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(given, found, strict=True)]
    return [outputs, *last, *zeros]


@pytest.mark.parametrize(("time", "batch"), [(4, 3), (1, 1), (3, 17)])
@pytest.mark.parametrize("name", STEPS)
def test_an_odd_step_is_the_loop_or_is_refused(name: str, time: int, batch: int) -> None:
    cell = of(STEPS[name])
    wanted = everything(cell, "loop", time, batch)
    for kernel in ("compiled",):
        why = unsupported_reason(kernel, cell, "cpu")
        if name in REFUSED:
            assert REFUSED[name] in why
        elif not why.startswith("no C compiler"):
            assert not why
            assert_close(everything(cell, kernel, time, batch), wanted, rtol=0, atol=1e-9)


class Slower(Cell):
    """Each layer is slower than the one below: a number of this cell alone."""

    rate = 0.9

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)
        self.U = nn.Linear(hidden, hidden, bias=False)

    @classmethod
    def make_upper_layer(cls, below: Cell) -> Cell:
        cell = cls(below.output_size, below.hidden_size)
        cell.rate = below.rate / 3  # type: ignore[attr-defined]
        return cell

    def step(self, Wx: Tensor, state: State) -> State:
        h = self.rate * state[0] + tanh(Wx + self.U(state[0]))
        return (h if self.training else 0.5 * h,)


def test_each_cell_is_read_for_itself_and_again_when_it_stops_training() -> None:
    below = Slower(6, 6)
    above = Slower.above(below)
    x = torch.randn(5, 2, 6)
    for cell in (below, above, above.eval()):
        wanted, _ = unroll_loop(cell, x, cell.initial_state(2))
        for kernel in supported_kernels(cell, "cpu"):
            got, _ = get_kernel(kernel, cell, "cpu")(cell, x, cell.initial_state(2), None)
            assert_close(got, wanted, rtol=0, atol=1e-5)


class Sliced(Slower):
    def project_inputs(self, x: Tensor) -> Tensor:
        wide = torch.cat((self.W.weight, self.W.weight), dim=1)
        return functional.linear(x, wide[:, : self.input_size], self.W.bias)


def test_a_long_text_is_projected_by_a_slice_of_a_matrix() -> None:
    cell = Sliced(6, 6).double()
    x = torch.randn(200, 2, 6).double()
    wanted = torch.autograd.grad(
        unroll_loop(cell, x, cell.initial_state(2))[0].sum(), cell.W.weight
    )
    for kernel in supported_kernels(cell, "cpu"):
        got, _ = get_kernel(kernel, cell, "cpu")(cell, x, cell.initial_state(2), None)
        assert_close(torch.autograd.grad(got.sum(), cell.W.weight), wanted, rtol=0, atol=1e-9)


class Constant(LinearCell):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)

    def coefficients(self, Wx: Tensor) -> tuple[Any, Tensor]:
        return 0.9, Wx


class Overridden(Constant):
    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = super().step(Wx, state)
        return (sigmoid(h),)


def test_a_scan_takes_a_constant_and_not_another_step() -> None:
    cell = Constant(3, 4).double()
    x = torch.randn(7, 2, 3).double()
    got, _ = get_kernel("scan", cell, "cpu")(cell, x, cell.initial_state(2), None)
    assert_close(got, unroll_loop(cell, x, cell.initial_state(2))[0], rtol=0, atol=1e-12)
    assert "scan" not in supported_kernels(Overridden(3, 4), "cpu")
    assert "scan" in supported_kernels(CELLS["qrnn"](3, 4), "cpu")


def test_pytorchs_kernel_does_not_serve_a_subclass_with_other_weights() -> None:
    class Biased(LSTM):
        def __init__(self, inputs: int, hidden: int) -> None:
            super().__init__(inputs, hidden)
            self.U = nn.Linear(hidden, 4 * hidden)

    assert "fused" not in supported_kernels(Biased(3, 4), "cpu")


def test_numbers_that_the_engine_does_not_have_are_refused() -> None:
    assert "in torch.bfloat16" in unsupported_reason("compiled", LSTM(3, 4).bfloat16(), "cpu")
