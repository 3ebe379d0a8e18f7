"""PyTorch's own sequence kernels (oneDNN or ATen on a CPU, cuDNN on a GPU) run on our weights.

At once a fast path and the independent proof that our equations are PyTorch's.
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

# cuDNN would copy our separate weights into one piece at each call; they are small.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")


def _weights(cell: Cell, recurrent_bias: Tensor) -> list[Tensor]:
    """In PyTorch's order: it adds a second bias to the recurrent product."""
    return [cell.W.weight, cell.U.weight, cell.W.bias, recurrent_bias]


@register_kernel("fused", RNN)
def rnn(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    x = x if ids is None else embedding(ids, x)
    (h,) = state
    weights = _weights(cell, torch.zeros_like(cell.W.bias))
    outputs, h = torch.rnn_tanh(
        x, h[None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, False
    )
    return outputs, (h[0],)


@register_kernel("fused", GRU)
def gru(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    x = x if ids is None else embedding(ids, x)
    (h,) = state
    assert isinstance(cell, GRU)
    weights = _weights(cell, torch.cat((cell.b.new_zeros(2 * cell.hidden_size), cell.b)))
    outputs, h = torch.gru(x, h[None], weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    return outputs, (h[0],)


@register_kernel("fused", LSTM)
def lstm(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    x = x if ids is None else embedding(ids, x)
    h, c = state
    weights = _weights(cell, torch.zeros_like(cell.W.bias))
    outputs, h, c = torch.lstm(
        x, (h[None], c[None]), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False
    )
    return outputs, (h[0], c[0])
