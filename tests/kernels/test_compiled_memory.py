"""Tests of the compiled kernel with a matrix for each head in the state."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, State
from charlm.cells.matrix_memory import decay, read, write
from charlm.errors import ConfigError
from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.memory_c import SEGMENT
from charlm.kernels.compiled.pointers import KernelInputError
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel
from charlm.testing.case import relative_difference

needs_compiler = pytest.mark.skipif(
    bool(compiler.unavailable_reason()), reason=compiler.unavailable_reason() or "-"
)
HEADS, KEYS, VALUES = 2, 3, 5
Step = Callable[["Own", Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class Own(Cell):
    """A memory of 2 heads with 3 keys and 5 values, used in a way that a test chooses."""

    states = ("h", "S")
    use: Step

    def __init__(self) -> None:
        super().__init__(4, HEADS * VALUES)
        self.W = nn.Linear(4, 2 * HEADS * KEYS + HEADS * VALUES + HEADS)

    def initial_state(self, batch_size: int) -> State:
        zeros = self.W.weight.new_zeros
        return zeros(batch_size, HEADS * VALUES), zeros(batch_size, HEADS, KEYS, VALUES)

    def step(self, Wx: Tensor, state: State) -> State:
        q, k, v, b = Wx.split((HEADS * KEYS, HEADS * KEYS, HEADS * VALUES, HEADS), dim=-1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in (q, k, v))
        o, S = self.use(state[1], q, tanh(k), v, sigmoid(b))
        return o.flatten(-2), S


def own_cell(use: Step) -> Cell:
    torch.manual_seed(0)
    return type("Own", (Own,), {"use": use})().double()


def write_what_was_read_twice(
    self: Own, S: Tensor, q: Tensor, k: Tensor, v: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    before = read(S, q)
    S = decay(S, b)
    S = write(S, k, v * read(S, k) - before / 2)
    S = write(S, q, -(before + b[..., None] * (v - read(S, q))))
    return read(S, k) + before, S


def read_before_the_decay_of_each_key(
    self: Own, S: Tensor, q: Tensor, k: Tensor, v: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    known = read(S, k)
    S = write(decay(S, sigmoid(q)), k, v - b[..., None] * known)
    return read(S, q), S


def only_read(
    self: Own, S: Tensor, q: Tensor, k: Tensor, v: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    return read(S, q) * v, S


def forward_and_backward(cell: Cell, kernel: str, time: int, batch: int) -> list[Tensor]:
    torch.manual_seed(1)
    dtype = next(cell.parameters()).dtype
    x = torch.randn(time, batch, cell.input_size, dtype=dtype)
    given = [x, *(torch.randn(batch, *s.shape[1:]).to(dtype) for s in cell.initial_state(1))]
    given = [part.requires_grad_() for part in given]
    outputs, last = get_kernel(kernel, cell, "cpu")(cell, given[0], tuple(given[1:]), None)
    loss = sum((part * torch.randn(part.shape, dtype=dtype)).sum() for part in (outputs, *last))
    weights = [*given, *cell.parameters()]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    zeros = [
        torch.zeros_like(w) if g is None else g for g, w in zip(gradients, weights, strict=True)
    ]
    return [outputs, *last, *zeros]


@needs_compiler
@pytest.mark.parametrize(
    "use", [write_what_was_read_twice, read_before_the_decay_of_each_key, only_read]
)
@pytest.mark.parametrize("time", [1, SEGMENT, 2 * SEGMENT + 3])
def test_any_order_of_decay_writes_and_reads_equals_the_loop(use: Step, time: int) -> None:
    cell = own_cell(use)
    results, expected = (forward_and_backward(cell, k, time, 3) for k in ("compiled", "loop"))
    for result, exact in zip(results, expected, strict=True):
        assert relative_difference(result, exact) < 1e-12


@needs_compiler
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"num_heads": 2}) for name in ("retnet", "mamba2", "gla", "hgrn2", "rwkv7")),
        *((name, {"num_heads": 1}) for name in ("mamba3", "matrix-lstm", "deltanet")),
        ("gated-deltanet", {"num_heads": 2, "eigenvalues": "signed"}),
        ("deltaproduct", {"num_heads": 6, "eigenvalues": "signed"}),
    ],
)
def test_cell_with_other_options_equals_the_loop(name: str, options: dict[str, int]) -> None:
    torch.manual_seed(0)
    cell = CELLS[name](5, 12, **options).double()
    results, expected = (forward_and_backward(cell, k, 11, 2) for k in ("compiled", "loop"))
    for result, exact in zip(results, expected, strict=True):
        assert relative_difference(result, exact) < 1e-11


@needs_compiler
@pytest.mark.parametrize(("units", "num_heads"), [(12, 6), (12, 3), (24, 3), (16, 1)])
def test_short_rows_are_read_at_any_address(units: int, num_heads: int) -> None:
    """Rows of 2, 4, 8 and 16 numbers start after the decays; GCC 12 took 4 of them for aligned."""
    torch.manual_seed(0)
    cell = CELLS["retnet"](5, units, num_heads=num_heads)
    results, expected = (forward_and_backward(cell, k, 9, 2) for k in ("compiled", "loop"))
    for result, exact in zip(results, expected, strict=True):
        assert relative_difference(result, exact) < 1e-4


@needs_compiler
def test_stream_with_an_infinite_query_leaves_the_others_alone() -> None:
    cell = own_cell(read_before_the_decay_of_each_key)
    state = tuple(part.expand(2, *part.shape[1:]) for part in cell.initial_state(1))
    gradients = []
    for first in (0.0, torch.inf):
        x = torch.randn(SEGMENT + 1, 2, 4, generator=torch.manual_seed(1), dtype=torch.float64)
        x[2, 0] += first
        x.requires_grad_()
        outputs, _ = get_kernel("compiled", cell, "cpu")(cell, x, state, None)
        outputs[:, 1].sum().backward()
        gradients.append(x.grad[:, 1])
    assert torch.isfinite(gradients[1]).all() and torch.equal(*gradients)


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda _, S, q, k, v, b: (read(S, q), decay(write(S, k, v), b)), "after it has written"),
        (lambda _, S, q, k, v, b: (read(write(S, q, v), q), write(S, k, v)), "in two ways"),
        (lambda _, S, q, k, v, b: (read(S, q), write(S, k, read(S, q) ** 2)), "pow"),
        (
            lambda _, S, q, k, v, b: (read(S, q), write(S, k, tanh(read(S, q)))),
            "no linear function of what it reads",
        ),
        (
            lambda _, S, q, k, v, b: (read(S, q), write(S, read(S, q)[..., :KEYS], v)),
            "a key of its memory depends on what it reads",
        ),
        (lambda _, S, q, k, v, b: (read(S, q), v[..., None, :] + S), "in other ways than decay"),
        (lambda _, S, q, k, v, b: (v, write(S, k, v)), "does not depend on what it reads"),
    ],
)
def test_other_use_of_a_matrix_is_refused_with_its_reason(use: Step, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot use --kernel compiled: .*{reason}"):
        get_kernel("compiled", own_cell(use), "cpu")


def test_state_that_returns_what_was_read_is_refused() -> None:
    class Feedback(Own):
        """h' = S^T q + h / 2."""

        def step(self, Wx: Tensor, state: State) -> State:
            h, S = super().step(Wx, state)
            return h + state[0] / 2, S

    cell = type("Feedback", (Feedback,), {"use": only_read})()
    with pytest.raises(ConfigError, match="the step before has read in its memory"):
        get_kernel("compiled", cell, "cpu")


@needs_compiler
def test_matrix_of_another_shape_is_refused_at_the_boundary() -> None:
    cell = CELLS["deltanet"](5, 8)
    h, S = cell.initial_state(2)
    unroll = get_kernel("compiled", cell, "cpu")
    for wrong in (S[:, :2], S[:1], S.flatten(1), S.double()):
        with pytest.raises(KernelInputError, match="the state is"):
            unroll(cell, torch.randn(3, 2, 5), (h, wrong), None)


@needs_compiler
def test_text_without_gradient_gives_the_same_outputs() -> None:
    torch.manual_seed(0)
    cell, x = CELLS["gated-deltanet"](5, 8), torch.randn(2 * SEGMENT + 1, 2, 5)
    state = cell.initial_state(2)
    unroll = get_kernel("compiled", cell, "cpu")
    outputs, last = unroll(cell, x, state, None)
    with torch.no_grad():
        assert_close(unroll(cell, x, state, None), (outputs, last), rtol=0, atol=0)
        assert_close(unroll_loop(cell, x, state), (outputs, last), rtol=1e-4, atol=1e-5)
