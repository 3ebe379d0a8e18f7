"""Krause et al. (2016), "Multiplicative LSTM for sequence modelling"."""

from collections.abc import Iterator

import torch
from torch import Tensor, cat, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("mul-lstm")
class MulLSTM(Cell):
    """m = (W_m x) (U_m h)                   what is read of h depends on the character
    i, f, o = sigmoid(W x + U m + b)      input, forget (1 keeps, 0 forgets) and output gate
    g = tanh(W_g x + U_g m + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) + HX + H*H for X inputs and H units. b_f begins at 1, so that the cell
    remembers at first.
    """

    states = ("h", "c")
    gate_descriptions = {
        "i": "input gate",
        "f": "forget gate: 1 keeps, 0 forgets",
        "o": "output gate",
    }
    candidate_name = "g"
    retention_expression = "f"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 4 * hidden)
        self.U = nn.Linear(hidden, 4 * hidden, bias=False)
        self.W_m = nn.Linear(inputs, hidden, bias=False)
        self.U_m = nn.Linear(hidden, hidden, bias=False)
        self.init_retention_bias(torch.ones(hidden))

    def project_inputs(self, x: Tensor) -> Tensor:
        return cat((self.W(x), self.W_m(x)), dim=-1)

    def step(self, Wx: Tensor, state: State) -> State:
        h, c = state
        Wx, m = Wx.split([4 * self.hidden_size, self.hidden_size], dim=-1)
        m = m * self.U_m(h)
        i, f, g, o = (Wx + self.U(m)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        i, f, _, _ = self.W.bias.data.chunk(4)
        f.copy_(bias)
        if write is not None:
            i.copy_(write)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        yield from super().recurrent_matrices()
        yield self.U_m.weight.data
