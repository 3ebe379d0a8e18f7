"""Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical
machine translation", in the preprint's first version, whose reset gate acts after the product, as
in cuDNN and PyTorch."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("gru")
class GRU(Cell):
    """r = sigmoid(W_r x + U_r h + b_r)              reset: how much of the past the candidate sees
    z = sigmoid(W_z x + U_z h + b_z)              keep: 1 keeps the past, 0 takes the candidate
    n = tanh(W_n x + b_n + r (U_n h + b'))        candidate
    h' = (1 - z) n + z h

    Parameters: 3H(X + H + 1) + H for X inputs and H units. b_z begins at 1, so that the unit keeps
    at first, as the LSTM's forget gate does.
    """

    gate_descriptions = {
        "r": "reset gate: 1 shows the past to the candidate",
        "z": "keep gate: 1 keeps the past, 0 takes the candidate",
    }
    candidate_name = "n"
    retention_expression = "z"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden)
        self.U = nn.Linear(hidden, 3 * hidden, bias=False)
        self.b = nn.Parameter(self.W.bias.data[2 * hidden :].clone())
        self.init_retention_bias(torch.ones(hidden))

    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = state
        r, z, n = Wx.chunk(3, dim=-1)
        Ur, Uz, Un = self.U(h).chunk(3, dim=-1)
        r = sigmoid(r + Ur)
        z = sigmoid(z + Uz)
        n = tanh(n + r * (Un + self.b))
        return ((1 - z) * n + z * h,)

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        del write  # 1 - z writes: it has no bias of its own
        _, z, _ = self.W.bias.data.chunk(3)
        z.copy_(bias)
