"""Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical machine translation".

The GRU of the published paper, whose reset gate acts before the product.
"""  # noqa: E501

from collections.abc import Iterator

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("gru-cho")
class GRUCho(Cell):
    """Gated recurrent unit, with the reset gate before the product.

    r = sigmoid(W_r x + U_r h + b_r)      reset gate: how much past the candidate sees
    z = sigmoid(W_z x + U_z h + b_z)      update gate: 1 retains, 0 takes the candidate
    n = tanh(W_n x + U_n (r h) + b_n)     candidate
    h' = (1 - z) n + z h

    Parameters: 3H(X + H + 1) for X inputs and H units. b_z starts at 1, so that the unit retains at
    first, as with the LSTM's forget gate.
    """

    gate_descriptions = {
        "r": "reset gate: 1 shows the past to the candidate",
        "z": "update gate: 1 retains the past, 0 takes the candidate",
    }
    candidate_name = "n"
    retention_expression = "z"
    bias_gates = ("r", "z", "n")
    forget_gate = "z"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.U_n = nn.Linear(hidden_size, hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        r, z, n = Wx.chunk(3, dim=-1)
        Ur, Uz = self.U(h).chunk(2, dim=-1)
        r = sigmoid(r + Ur)
        z = sigmoid(z + Uz)
        n = tanh(n + self.U_n(r * h))
        self.record(r=r, z=z, n=n)
        return ((1 - z) * n + z * h,)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield the blocks of U, then U_n."""
        yield from super().recurrent_matrices()
        yield self.U_n.weight.data
