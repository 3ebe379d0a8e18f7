"""Bradbury et al. (2017), "Quasi-recurrent neural networks": fo-pooling, width 2."""

import torch
from torch import Tensor, cat, nn, sigmoid, tanh

from charlm.cells.base import State, register_cell
from charlm.cells.linear_cell import LinearCell


@register_cell("qrnn")
class QRNN(LinearCell):
    """Convolution of width 2 with a gated pooling over time.

    z = tanh(W_z x + V_z y + b_z)          candidate; y is the previous x
    f, o = sigmoid(W x + V y + b)          forget (1 retains, 0 replaces) and output gate
    c' = f c + (1 - f) z
    h' = o c'

    Parameters: 3H(2X + 1) for X inputs and H units. b_f starts at 1, as every forget gate here, so
    that the cell remembers at first. Before the first token V y is 0.
    """

    states = ("h", "c", "Vy")
    output_is_readout = True
    gate_descriptions = {"f": "forget gate: 1 retains, 0 replaces", "o": "output gate"}
    candidate_name = "z"
    retention_expression = "f"
    bias_gates = ("z", "f", "o")
    forget_gate = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.V = nn.Linear(input_size, 3 * hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h and c (batch, hidden_size), V y (batch, 3 * hidden_size)."""
        zeros = self.W.weight.new_zeros
        h, c = (zeros(batch_size, self.hidden_size) for _ in "hc")
        return h, c, zeros(batch_size, 3 * self.hidden_size)

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [W x + b | V x]."""
        return cat((self.W(x), self.V(x)), dim=-1)

    def apply_input_shift(self, Wx: Tensor, state: State) -> tuple[Tensor, State]:
        """Add V y of the previous token to each W x."""
        Wx, Vx = Wx.chunk(2, dim=-1)
        _, _, Vy = state
        return Wx + cat((Vy[None], Vx[:-1])), (Vx[-1],)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """Return f and (1 - f) z."""
        z, f, _ = Wx.chunk(3, dim=-1)
        z, f = tanh(z), sigmoid(f)
        self.record(z=z, f=f)
        return f, (1 - f) * z

    def read_out(self, Wx: Tensor, s: Tensor) -> Tensor:
        """Return o c."""
        _, _, o = Wx.chunk(3, dim=-1)
        o = sigmoid(o)
        self.record(o=o)
        return o * s

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c, V x)."""
        h, c, Vy = state
        Wx, Vx = Wx.chunk(2, dim=-1)
        h, c = super().step(Wx + Vy, (h, c))
        return h, c, Vx
