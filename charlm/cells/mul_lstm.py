"""Krause et al. (2016), "Multiplicative LSTM for sequence modelling"."""

from collections.abc import Iterator

import torch
from torch import Tensor, cat, nn, sigmoid, tanh

from charlm.cells.base import State, register_cell
from charlm.cells.lstm_variant import LSTMVariant


@register_cell("mul-lstm")
class MulLSTM(LSTMVariant):
    """LSTM with a multiplicative hidden-to-hidden transition.

    m = (W_m x) (U_m h)                   what is read of h depends on the token
    i, f, o = sigmoid(W x + U m + b)      input, forget (1 retains, 0 forgets) and output gate
    g = tanh(W_g x + U_g m + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    The output is that of Radford et al. (2017), who made the cell known.

    Parameters: 4H(X + H + 1) + HX + H*H for X inputs and H units. b_f starts at 1, so that the cell
    remembers at first.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.W_m = nn.Linear(input_size, hidden_size, bias=False)
        self.U_m = nn.Linear(hidden_size, hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [W x + b | W_m x]."""
        return cat((self.W(x), self.W_m(x)), dim=-1)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c)."""
        h, c = state
        Wx, m = Wx.split([4 * self.hidden_size, self.hidden_size], dim=-1)
        m = m * self.U_m(h)
        i, f, g, o = (Wx + self.U(m)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        self.record(i=i, f=f, g=g, o=o)
        c = f * c + i * g
        h = o * tanh(c)
        return h, c

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield the blocks of U, then U_m."""
        yield from super().recurrent_matrices()
        yield self.U_m.weight.data
