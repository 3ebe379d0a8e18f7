"""Melis, Kočiský & Blunsom (2020), "Mogrifier LSTM", with 5 rounds and full matrices."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import State, register_cell
from charlm.cells.lstm_variant import LSTMVariant


@register_cell("mogrifier")
class Mogrifier(LSTMVariant):
    """LSTM whose input and state gate each other, in rounds, before its step.

    x = 2 sigmoid(Q_r h) x                in rounds r = 1, 3, 5: the state gates the input
    h = 2 sigmoid(R_r x) h                in rounds r = 2, 4: the input gates the state
    i, f, o = sigmoid(W x + U h + b)      input, forget (1 retains, 0 forgets) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    The authors' code caps i at 1 - f by default, and can factor Q and R; here neither is done.

    Parameters: 4H(X + H + 1) + 5HX for X inputs and H units. Q and R start uniform, PyTorch's
    default, so that 2 sigmoid is about 1, as in an LSTM. b_f starts at 1, so that the cell
    remembers at first.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.Q = nn.ModuleList(nn.Linear(hidden_size, input_size, bias=False) for _ in range(3))
        self.R = nn.ModuleList(nn.Linear(input_size, hidden_size, bias=False) for _ in range(2))
        self.init_retention_bias(torch.ones(hidden_size))

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return x: the state gates it before any weight."""
        return x

    def step(self, x: Tensor, state: State) -> State:
        """Return (h, c)."""
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
        self.record(i=i, f=f, g=g, o=o)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c
