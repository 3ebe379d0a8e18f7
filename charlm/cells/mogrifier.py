"""Melis, Kočiský & Blunsom (2020), "Mogrifier LSTM", with 5 rounds and full matrices."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("mogrifier")
class Mogrifier(Cell):
    """x = 2 sigmoid(Q_r h) x      in rounds r = 1, 3, 5: the past says what of x counts
    h = 2 sigmoid(R_r x) h      in rounds r = 2, 4: and x, what of the past
    i, f, o = sigmoid(W x + U h + b)      input, forget (1 keeps, 0 forgets) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) + 5HX for X inputs and H units. Q and R begin small, so that 2
    sigmoid is about 1, as in an LSTM; b_f begins at 1, so that the cell remembers at first.
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
        self.Q = nn.ModuleList(nn.Linear(hidden, inputs, bias=False) for _ in range(3))
        self.R = nn.ModuleList(nn.Linear(inputs, hidden, bias=False) for _ in range(2))
        self.init_retention_bias(torch.ones(hidden))

    def project_inputs(self, x: Tensor) -> Tensor:
        return x  # it meets the state before any weight

    def step(self, x: Tensor, state: State) -> State:
        h, c = state
        Q1, Q3, Q5 = self.Q
        R2, R4 = self.R
        x = 2 * sigmoid(Q1(h)) * x
        h = 2 * sigmoid(R2(x)) * h
        x = 2 * sigmoid(Q3(h)) * x
        h = 2 * sigmoid(R4(x)) * h
        x = 2 * sigmoid(Q5(h)) * x
        i, f, g, o = (self.W(x) + self.U(h)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        i, f, _, _ = self.W.bias.data.chunk(4)
        f.copy_(bias)
        if write is not None:
            i.copy_(write)
