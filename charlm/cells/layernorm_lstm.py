"""Ba, Kiros & Hinton (2016), "Layer normalization": its LSTM."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import State, register_cell
from charlm.cells.lstm_variant import LSTMVariant


@register_cell("layernorm-lstm")
class LayerNormLSTM(LSTMVariant):
    """LSTM with layer normalization of both products and of the cell state.

    i, f, o = sigmoid(LN(W x) + LN(U h) + b)      input, forget (1 retains, 0 forgets), output gate
    g = tanh(LN(W_g x) + LN(U_g h) + b_g)         candidate
    c' = f c + i g                                cell state
    h' = o tanh(LN(c'))

    LN(a) = gain (a - mean a) / sqrt(var a + 1e-5), over all four gates; the last has a bias too.

    Parameters: 4H(X + H + 1) + 8H + 2H for X inputs and H units. Gains start at 1 and biases at 0,
    but b_f at 1, so that the cell remembers at first.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.b = nn.Parameter(torch.zeros(4 * hidden_size))
        self.norm_x = nn.LayerNorm(4 * hidden_size, eps=1e-5, bias=False)
        self.norm_h = nn.LayerNorm(4 * hidden_size, eps=1e-5, bias=False)
        self.norm_c = nn.LayerNorm(hidden_size, eps=1e-5)
        self.init_retention_bias(torch.ones(hidden_size))

    @property
    def gate_bias(self) -> Tensor:
        """The bias b, which is added after the normalization."""
        return self.b

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return LN(W x) + b."""
        normed: Tensor = self.norm_x(self.W(x))
        return normed + self.b

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c)."""
        h, c = state
        i, f, g, o = (Wx + self.norm_h(self.U(h))).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        self.record(i=i, f=f, g=g, o=o)
        c = f * c + i * g
        h = o * tanh(self.norm_c(c))
        return h, c
