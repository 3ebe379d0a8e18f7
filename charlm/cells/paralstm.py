"""Danieli et al. (2025), "ParaRNN: Unlocking parallel training of nonlinear RNNs for large language models": ParaLSTM."""  # noqa: E501

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("paralstm")
class ParaLSTM(Cell):
    """LSTM with coupled gates and peepholes whose recurrent matrices are diagonal.

    f = sigmoid(W_f x + a_f h + p_f c + b_f)        forget gate: 1 retains, 0 replaces
    g = tanh(W_g x + a_g h + b_g)                   candidate
    c' = f c + (1 - f) g                            cell state
    o = sigmoid(W_o x + a_o h + p_o c' + b_o)       output gate
    h' = o tanh(c')

    Left out: the paper's training in parallel over time by Newton's method, whose result is the
    same. In its models W is divided into heads, and a convolution comes before the cell.

    Parameters: 3H(X + 2) + 2H for X inputs and H units. a and p start normal with the variance
    0.8/H, as in the authors' code, and b_f at 1, so that a unit retains at first; theirs is from 0
    to -1.
    """

    states = ("h", "c")
    gate_descriptions = {"f": "forget gate: 1 retains, 0 replaces", "o": "output gate"}
    candidate_name = "g"
    retention_expression = "f"
    bias_gates = ("f", "o", "g")
    forget_gate = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        deviation = (0.8 / hidden_size) ** 0.5
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.a = nn.Parameter(torch.randn(3 * hidden_size) * deviation)
        self.p = nn.Parameter(torch.randn(2 * hidden_size) * deviation)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c)."""
        h, c = state
        f, o, g = Wx.chunk(3, dim=-1)
        a_f, a_o, a_g = self.a.chunk(3, dim=-1)
        p_f, p_o = self.p.chunk(2, dim=-1)
        f, g = sigmoid(f + a_f * h + p_f * c), tanh(g + a_g * h)
        c = f * c + (1 - f) * g
        o = sigmoid(o + a_o * h + p_o * c)
        self.record(f=f, g=g, o=o)
        return o * tanh(c), c
