"""Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical machine translation".

The GRU of the preprint's first version, whose reset gate acts after the product, as in cuDNN and
PyTorch.
"""  # noqa: E501

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("gru")
class GRU(Cell):
    """Gated recurrent unit, with the reset gate after the product.

    r = sigmoid(W_r x + U_r h + b_r)              reset gate: how much past the candidate sees
    z = sigmoid(W_z x + U_z h + b_z)              update gate: 1 retains, 0 takes the candidate
    n = tanh(W_n x + b_n + r (U_n h + b'))        candidate
    h' = (1 - z) n + z h

    Parameters: 3H(X + H + 1) + H for X inputs and H units. b_z starts at 1, so that the unit
    retains at first, as with the LSTM's forget gate.
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
        self.U = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.b = nn.Parameter(self.W.bias.data[2 * hidden_size :].clone())
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        r, z, n = Wx.chunk(3, dim=-1)
        Ur, Uz, Un = self.U(h).chunk(3, dim=-1)
        r = sigmoid(r + Ur)
        z = sigmoid(z + Uz)
        n = tanh(n + r * (Un + self.b))
        self.record(r=r, z=z, n=n)
        return ((1 - z) * n + z * h,)
