"""PyTorch's own RNN, GRU and LSTM (oneDNN or ATen on a CPU, cuDNN on a GPU) with our weights.

A fast path, and independent evidence that our equations are PyTorch's.
"""

import warnings

import torch
from torch import Tensor
from torch.nn.functional import embedding

from charlm.cells.base import Cell, State
from charlm.cells.gru import GRU
from charlm.cells.lstm import LSTM
from charlm.cells.rnn import RNN
from charlm.kernels.registry import register_kernel

PRIORITY = {"cpu": 10, "cuda": 30}
# cuDNN copies our separate weights into one piece at each call; they are small.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")


def _weights(cell: Cell, recurrent_bias: Tensor) -> list[Tensor]:
    """Return the weights in PyTorch's order, with its second bias, of the recurrent product."""
    return [cell.W.weight, cell.U.weight, cell.W.bias, recurrent_bias]


@register_kernel("native", RNN, priority=PRIORITY)
def rnn(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    """Unroll an RNN as `unroll_loop` does."""
    x = x if ids is None else embedding(ids, x)
    (h,) = state
    weights = _weights(cell, torch.zeros_like(cell.W.bias))
    training = torch.is_grad_enabled()
    outputs, h = torch.rnn_tanh(x, h[None], weights, True, 1, 0.0, training, False, False)
    return outputs, (h[0],)


@register_kernel("native", GRU, priority=PRIORITY)
def gru(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    """Unroll a GRU as `unroll_loop` does."""
    assert isinstance(cell, GRU)
    x = x if ids is None else embedding(ids, x)
    (h,) = state
    weights = _weights(cell, torch.cat((cell.b.new_zeros(2 * cell.hidden_size), cell.b)))
    training = torch.is_grad_enabled()
    outputs, h = torch.gru(x, h[None], weights, True, 1, 0.0, training, False, False)
    return outputs, (h[0],)


@register_kernel("native", LSTM, priority=PRIORITY)
def lstm(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    """Unroll an LSTM as `unroll_loop` does."""
    x = x if ids is None else embedding(ids, x)
    h, c = state
    weights = _weights(cell, torch.zeros_like(cell.W.bias))
    training = torch.is_grad_enabled()
    outputs, h, c = torch.lstm(x, (h[None], c[None]), weights, True, 1, 0.0, training, False, False)
    return outputs, (h[0], c[0])
