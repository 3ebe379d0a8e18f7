"""Tests that RNN, GRU and LSTM are PyTorch's."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from charlm.cells.base import Cell, State
from charlm.cells.gru import GRU
from charlm.cells.lstm import LSTM
from charlm.cells.rnn import RNN
from charlm.kernels.loop import unroll_loop

TIME, BATCH, INPUT_SIZE, HIDDEN_SIZE = 11, 3, 5, 7


def randomized(cell_type: type[Cell]) -> Cell:
    """Return a float64 cell, none of whose biases is at its initial value."""
    torch.manual_seed(1)
    cell = cell_type(INPUT_SIZE, HIDDEN_SIZE).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def random_state(cell: Cell) -> State:
    return tuple(randn(*part.shape) for part in cell.initial_state(BATCH))


def copy_weights(cell: Cell, module: nn.RNNBase) -> None:
    """Copy weights into PyTorch's module; its second bias is ours only in the GRU's candidate."""
    with torch.no_grad():
        module.weight_ih_l0.copy_(cell.W.weight)
        module.weight_hh_l0.copy_(cell.U.weight)
        module.bias_ih_l0.copy_(cell.W.bias)
        module.bias_hh_l0.zero_()
        if isinstance(cell, GRU):
            module.bias_hh_l0[2 * HIDDEN_SIZE :].copy_(cell.b)


@pytest.mark.parametrize(
    ("cell_type", "module_type"),
    [(RNN, nn.RNN), (GRU, nn.GRU), (LSTM, nn.LSTM)],
    ids=["rnn", "gru", "lstm"],
)
def test_outputs_and_gradients_are_pytorchs(cell_type: type[Cell], module_type: type) -> None:
    """Outputs, last state and every gradient in float64, from a state that is not zero."""
    cell = randomized(cell_type)
    module = module_type(INPUT_SIZE, HIDDEN_SIZE).double()
    copy_weights(cell, module)
    torch.manual_seed(3)
    x = randn(TIME, BATCH, INPUT_SIZE).requires_grad_()
    x2 = x.detach().clone().requires_grad_()
    state = tuple(part.requires_grad_() for part in random_state(cell))
    state2 = tuple(part.detach().clone().requires_grad_() for part in state)
    outputs, last = unroll_loop(cell, x, state, None)
    layers = tuple(part[None] for part in state2)
    outputs2, last2 = module(x2, layers if cell_type is LSTM else layers[0])
    last2 = tuple(part[0] for part in (last2 if cell_type is LSTM else (last2,)))
    assert_close(outputs, outputs2, rtol=0, atol=1e-9)
    assert_close(last, last2, rtol=0, atol=1e-9)

    weight, weights = randn(*outputs.shape), [randn(*part.shape) for part in last]
    for out, end in ((outputs, last), (outputs2, last2)):
        loss = (out * weight).sum()
        loss = loss + sum((p * w).sum() for p, w in zip(end, weights, strict=True))
        loss.backward()
    assert_close(x.grad, x2.grad, rtol=0, atol=1e-9)
    for part, part2 in zip(state, state2, strict=True):
        assert_close(part.grad, part2.grad, rtol=0, atol=1e-9)
    assert_close(cell.W.weight.grad, module.weight_ih_l0.grad, rtol=0, atol=1e-9)
    assert_close(cell.U.weight.grad, module.weight_hh_l0.grad, rtol=0, atol=1e-9)
    assert_close(cell.W.bias.grad, module.bias_ih_l0.grad, rtol=0, atol=1e-9)
    if isinstance(cell, GRU):
        assert_close(cell.b.grad, module.bias_hh_l0.grad[2 * HIDDEN_SIZE :], rtol=0, atol=1e-9)


@pytest.mark.parametrize("cell_type", [LSTM, GRU])
def test_forget_bias_starts_at_1(cell_type: type[Cell]) -> None:
    bias = cell_type(INPUT_SIZE, HIDDEN_SIZE).W.bias
    assert (bias[HIDDEN_SIZE : 2 * HIDDEN_SIZE] == 1).all()
