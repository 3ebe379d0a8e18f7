"""Gers & Schmidhuber (2000), "Recurrent nets that time and count": the LSTM with peepholes."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import State, register_cell
from charlm.cells.lstm_variant import LSTMVariant


@register_cell("peephole-lstm")
class PeepholeLSTM(LSTMVariant):
    """LSTM whose gates also see the cell state.

    i = sigmoid(W_i x + U_i h + p_i c + b_i)       input gate: sees the cell state
    f = sigmoid(W_f x + U_f h + p_f c + b_f)       forget gate: 1 retains, 0 forgets
    g = tanh(W_g x + U_g h + b_g)                  candidate
    c' = f c + i g                                 cell state
    o = sigmoid(W_o x + U_o h + p_o c' + b_o)      output gate: sees the new cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) + 3H for X inputs and H units. b_f starts at 1, so that the cell
    remembers at first. The peepholes p start uniform, as large as the weights of U: from 0 all
    would move the same way, and two layers are then slow to start learning.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.p = nn.Parameter(torch.empty(3 * hidden_size).uniform_(-1, 1) / hidden_size**0.5)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c)."""
        h, c = state
        i, f, g, o = (Wx + self.U(h)).chunk(4, dim=-1)
        p_i, p_f, p_o = self.p.chunk(3, dim=-1)
        i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
        c = f * c + i * g
        o = sigmoid(o + p_o * c)
        self.record(i=i, f=f, g=g, o=o)
        h = o * tanh(c)
        return h, c
