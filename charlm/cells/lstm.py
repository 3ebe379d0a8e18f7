"""Hochreiter & Schmidhuber (1997), "Long short-term memory"; forget gate: Gers et al. (2000)."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import State, register_cell
from charlm.cells.lstm_variant import LSTMVariant


@register_cell("lstm")
class LSTM(LSTMVariant):
    """LSTM with forget gate.

    i, f, o = sigmoid(W x + U h + b)      input, forget (1 retains, 0 forgets) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) for X inputs and H units. b_f starts at 1, so that the cell remembers
    at first (Jozefowicz et al. 2015).
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c)."""
        h, c = state
        i, f, g, o = (Wx + self.U(h)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        self.record(i=i, f=f, g=g, o=o)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c
