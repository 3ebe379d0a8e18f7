"""Gers & Schmidhuber (2000), "Recurrent nets that time and count": the LSTM with peepholes."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("peephole-lstm")
class PeepholeLSTM(Cell):
    """i = sigmoid(W_i x + U_i h + p_i c + b_i)       input gate: it sees the cell state
    f = sigmoid(W_f x + U_f h + p_f c + b_f)       forget gate: 1 keeps, 0 forgets
    g = tanh(W_g x + U_g h + b_g)                  candidate
    c' = f c + i g                                 cell state
    o = sigmoid(W_o x + U_o h + p_o c' + b_o)      output gate: it sees the new cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) + 3H for X inputs and H units. b_f begins at 1, so that the
    cell remembers at first, and the peepholes p uniform, as large as the weights of U: from 0 they
    would all set out the same way, and two layers are then slow to begin to learn.
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
        self.p = nn.Parameter(torch.empty(3 * hidden).uniform_(-1, 1) / hidden**0.5)
        self.init_retention_bias(torch.ones(hidden))

    def step(self, Wx: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (Wx + self.U(h)).chunk(4, dim=-1)
        p_i, p_f, p_o = self.p.chunk(3, dim=-1)
        i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
        c = f * c + i * g
        o = sigmoid(o + p_o * c)
        h = o * tanh(c)
        return h, c

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        i, f, _, _ = self.W.bias.data.chunk(4)
        f.copy_(bias)
        if write is not None:
            i.copy_(write)
