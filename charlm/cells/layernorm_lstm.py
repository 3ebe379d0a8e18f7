"""Ba, Kiros & Hinton (2016), "Layer normalization": its LSTM."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("layernorm-lstm")
class LayerNormLSTM(Cell):
    """i, f, o = sigmoid(LN(W x) + LN(U h) + b)      input, forget (1 keeps, 0 forgets), output gate
    g = tanh(LN(W_g x) + LN(U_g h) + b_g)         candidate
    c' = f c + i g                                cell state
    h' = o tanh(LN(c'))

    LN(a) = gain (a - mean a) / sqrt(var a + 1e-5), over all four gates; the last has a bias too.

    Parameters: 4H(X + H + 1) + 8H + 2H for X inputs and H units. Gains begin at 1 and biases at 0,
    but b_f at 1, so that the cell remembers at first.
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
        self.W = nn.Linear(inputs, 4 * hidden, bias=False)
        self.U = nn.Linear(hidden, 4 * hidden, bias=False)
        self.b = nn.Parameter(torch.zeros(4 * hidden))
        self.norm_x = nn.LayerNorm(4 * hidden, eps=1e-5, bias=False)
        self.norm_h = nn.LayerNorm(4 * hidden, eps=1e-5, bias=False)
        self.norm_c = nn.LayerNorm(hidden, eps=1e-5)
        self.init_retention_bias(torch.ones(hidden))

    def project_inputs(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm_x(self.W(x))
        return normed + self.b

    def step(self, Wx: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (Wx + self.norm_h(self.U(h))).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * tanh(self.norm_c(c))
        return h, c

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        i, f, _, _ = self.b.data.chunk(4)
        f.copy_(bias)
        if write is not None:
            i.copy_(write)
