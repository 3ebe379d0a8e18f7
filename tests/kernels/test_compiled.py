"""Tests of the compiled kernel: what it traces, its gradients, and what it refuses."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.testing import assert_close

from charlm.cells.base import Cell, State
from charlm.cells.gru import GRU
from charlm.cells.indrnn import IndRNN
from charlm.cells.layernorm_lstm import LayerNormLSTM
from charlm.cells.lstm import LSTM
from charlm.cells.rnn import RNN
from charlm.cells.slstm import SLSTM
from charlm.errors import ConfigError
from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.autodiff import differentiate
from charlm.kernels.compiled.codegen import generate_c
from charlm.kernels.compiled.graph import Graph
from charlm.kernels.compiled.trace import TracedStep, trace_step
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel, supported_kernels

needs_compiler = pytest.mark.skipif(
    bool(compiler.unavailable_reason()), reason=compiler.unavailable_reason() or "-"
)


class Own(Cell):
    """h' = tanh(W x + U h), and an operation that a test adds."""

    operation: Callable[[Tensor, Tensor], Tensor] = staticmethod(lambda h, _: h)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, Wx: Tensor, state: State) -> State:
        return (self.operation(tanh(Wx + self.U(state[0])), Wx),)


def cell_with(operation: Callable[[Tensor, Tensor], Tensor]) -> Cell:
    return type("Own", (Own,), {"operation": staticmethod(operation)})(3, 4).double()


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (lambda h, _: torch.erf(h), "calls erf, which charlm cannot translate to C"),
        (lambda h, _: h if h.sum() > 0 else -h, "uses sum|branches on values"),
        (lambda h, _: h if h > 0 else -h, "branches on values"),
        (lambda h, _: h[..., ::2].repeat(1, 2), "slices a tensor with a stride"),
        (lambda h, _: h[0:1] + h, "another dimension than the last"),
        (lambda h, _: h @ torch.eye(4), "@, which charlm cannot"),
        (lambda h, _: h[..., :3], "other widths"),
        (lambda h, Wx: h + Wx[..., :2], "different widths"),
        (lambda h, _: h + torch.ones(4), "mixes a Tensor"),
    ],
)
def test_untraceable_step_is_refused_with_the_operation(
    operation: Callable[[Tensor, Tensor], Tensor], reason: str
) -> None:
    cell = cell_with(operation)
    with pytest.raises(ConfigError, match=f"cannot use --kernel compiled: .*({reason})"):
        get_kernel("compiled", cell, "cpu")
    assert supported_kernels(cell, "cpu") == ["loop"]


@needs_compiler
@pytest.mark.parametrize(
    "operation",
    [
        lambda h, Wx: torch.maximum(h, 0.5 * Wx) - torch.minimum(h, Wx),
        lambda h, Wx: torch.where(h > Wx, h * h, torch.abs(Wx)),
        lambda h, Wx: torch.nn.functional.softplus(h) / (1.5 + sigmoid(Wx)) - 2 / (3 + h),
        lambda h, Wx: (
            torch.log(2 + h) * torch.sqrt(1.1 - h.square()) + torch.cos(Wx) * torch.sin(h)
        ),
        lambda h, Wx: torch.cat((h[..., 1:], h[..., :1]), dim=-1) * sigmoid(Wx),
        lambda h, Wx: torch.nn.functional.layer_norm(h, (4,)) * torch.relu(Wx),
        lambda h, Wx: torch.cat([p.sigmoid() for p in h.split([1, 3], dim=-1)], -1) + -Wx,
        lambda h, Wx: torch.remainder(h, 0.7) + (1 - Wx),
        lambda h, Wx: torch.expm1(h) * nn.functional.silu(Wx),
        lambda h, Wx: nn.functional.rms_norm(h, (4,), None, 1e-6) + Wx,
        lambda h, Wx: torch.sign(h) * Wx + torch.sign(Wx) * h,
    ],
)
def test_gradients_of_supported_operations_equal_autograd(
    operation: Callable[[Tensor, Tensor], Tensor],
) -> None:
    torch.manual_seed(0)
    cell = cell_with(operation)
    x, start = torch.randn(5, 2, 3).double(), torch.randn(2, 4).double()
    weight = torch.randn(5, 2, 4).double()
    results = {}
    for name in ("loop", "compiled"):
        given = [t.clone().requires_grad_() for t in (x, start)]
        cell.zero_grad()
        outputs, (last,) = get_kernel(name, cell, "cpu")(cell, given[0], (given[1],), None)
        ((outputs * weight).sum() + (last**2).sum()).backward()
        gradients = [t.grad for t in (*given, *cell.parameters())]
        results[name] = [outputs, last, *gradients]
    assert_close(results["compiled"], results["loop"], rtol=0, atol=1e-9)


def test_number_shared_by_a_row_gets_the_gradient_of_the_row() -> None:
    """A sum over a row has one gradient; no cell of ours has such a sum of a number."""
    graph = Graph()
    row, number = graph.leaf("s0", 0, 4), graph.leaf("s1", 0, 1)
    step = TracedStep(graph, ((row,), (graph.row_sum((row + number,)),)), (4, 1), 4, {})
    gradient = differentiate(step).leaves[number]
    assert gradient is graph.leaf("a1", 0, 1) * 4.0


def test_equal_nodes_are_computed_once() -> None:
    source = generate_c(trace_step(LSTM(3, 4)), lambda _: True)
    assert source.input_gradient_is_deltas  # nothing is stored twice in the backward pass
    assert source.saved_size == 5 * 4  # i, f, g, o and tanh c: c itself is in the state
    assert not generate_c(trace_step(GRU(3, 4)), lambda _: True).input_gradient_is_deltas


@needs_compiler
@pytest.mark.parametrize("cell_type", [LSTM, GRU, RNN, SLSTM, LayerNormLSTM, IndRNN])
def test_nan_propagates_and_large_gates_do_not_overflow(cell_type: type[Cell]) -> None:
    torch.manual_seed(0)
    cell = cell_type(3, 8)
    x = torch.randn(4, 2, 3)
    wide = 300.0 if cell_type is LSTM else 30.0  # far beyond where an exponential overflows
    with torch.no_grad():
        outputs, _ = get_kernel("compiled", cell, "cpu")(
            cell, x * wide, cell.initial_state(2), None
        )
        expected, _ = unroll_loop(cell, x * wide, cell.initial_state(2))
        assert_close(outputs, expected, rtol=1e-5, atol=1e-5)
        x[1, 0, 0] = math.nan
        outputs, last = get_kernel("compiled", cell, "cpu")(cell, x, cell.initial_state(2), None)
    assert outputs[1:, 0].isnan().any(-1).all() and last[0][0].isnan().any()
    assert not outputs[:1].isnan().any() and not outputs[:, 1].isnan().any()


@needs_compiler
def test_backward_can_be_repeated_but_not_with_changed_weights() -> None:
    torch.manual_seed(0)
    cell = LSTM(3, 4).double()
    x = torch.randn(5, 2, 3).double()
    outputs, _ = get_kernel("compiled", cell, "cpu")(cell, x, cell.initial_state(2), None)
    once = torch.autograd.grad(outputs[2].sum(), cell.U.weight, retain_graph=True)
    assert_close(torch.autograd.grad(outputs[2].sum(), cell.U.weight, retain_graph=True), once)
    with torch.no_grad():
        cell.U.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@needs_compiler
def test_id_out_of_range_is_an_error_and_int32_is_accepted() -> None:
    cell = RNN(3, 4)
    table, ids = torch.randn(5, 3), torch.randint(5, (6, 2))
    unroll = get_kernel("compiled", cell, "cpu")
    expected, _ = unroll_loop(cell, table, cell.initial_state(2), ids)
    assert_close(unroll(cell, table, cell.initial_state(2), ids.to(torch.int32))[0], expected)
    ids[3, 1] = 5
    with pytest.raises(IndexError, match="table of 5 tokens"):
        unroll(cell, table, cell.initial_state(2), ids)
