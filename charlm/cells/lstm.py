"""Hochreiter & Schmidhuber (1997), "Long short-term memory"; forget gate: Gers et al. (2000)."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("lstm")
class LSTM(Cell):
    """i, f, o = sigmoid(W x + U h + b)      input, forget (1 keeps, 0 forgets) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) for X inputs and H units. b_f begins at 1, so that the cell remembers
    at first (Jozefowicz et al. 2015).
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
        self.init_retention_bias(torch.ones(hidden))

    def step(self, Wx: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (Wx + self.U(h)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        i, f, _, _ = self.W.bias.data.chunk(4)
        f.copy_(bias)
        if write is not None:
            i.copy_(write)
