"""Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical
machine translation"; the GRU of the published paper, whose reset gate acts before the product."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("gru-cho")
class GRUCho(Cell):
    """r = sigmoid(W_r x + U_r h + b_r)      reset: how much of the past the candidate sees
    z = sigmoid(W_z x + U_z h + b_z)      keep: 1 keeps the past, 0 takes the candidate
    n = tanh(W_n x + U_n (r h) + b_n)     candidate
    h' = (1 - z) n + z h

    Parameters: 3H(X + H + 1) for X inputs and H units. b_z begins at 1, so that the unit keeps at
    first, as the LSTM's forget gate does.
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
        self.U = nn.Linear(hidden, 2 * hidden, bias=False)
        self.U_n = nn.Linear(hidden, hidden, bias=False)
        self.init_retention_bias(torch.ones(hidden))

    def step(self, Wx: Tensor, state: State) -> State:
        (h,) = state
        r, z, n = Wx.chunk(3, dim=-1)
        Ur, Uz = self.U(h).chunk(2, dim=-1)
        r = sigmoid(r + Ur)
        z = sigmoid(z + Uz)
        n = tanh(n + self.U_n(r * h))
        return ((1 - z) * n + z * h,)

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        del write  # 1 - z writes: it has no bias of its own
        _, z, _ = self.W.bias.data.chunk(3)
        z.copy_(bias)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        yield from super().recurrent_matrices()
        yield self.U_n.weight.data
