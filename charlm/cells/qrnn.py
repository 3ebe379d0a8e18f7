"""Bradbury et al. (2017), "Quasi-recurrent neural networks": fo-pooling, width 2."""

import torch
from torch import Tensor, cat, nn, sigmoid, tanh

from charlm.cells.base import LinearCell, State, register_cell


@register_cell("qrnn")
class QRNN(LinearCell):
    """z = tanh(W_z x + V_z y + b_z)          candidate, where y is the x before
    f, o = sigmoid(W x + V y + b)          forget (1 keeps, 0 replaces) and output gate
    c' = f c + (1 - f) z
    h' = o c'

    Parameters: 3H(2X + 1) for X inputs and H units. b_f begins at 1, so that the cell remembers at
    first. Before the first character V y is 0.
    """

    states = ("h", "c", "before")
    output_is_readout = True
    gate_descriptions = {"f": "forget gate: 1 keeps, 0 replaces", "o": "output gate"}
    candidate_name = "z"
    retention_expression = "f"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden)
        self.V = nn.Linear(inputs, 3 * hidden, bias=False)
        self.init_retention_bias(torch.ones(hidden))

    def initial_state(self, batch: int) -> State:
        zeros = self.W.weight.new_zeros
        return (
            zeros(batch, self.hidden_size),
            zeros(batch, self.hidden_size),
            zeros(batch, 3 * self.hidden_size),
        )

    def project_inputs(self, x: Tensor) -> Tensor:
        return cat((self.W(x), self.V(x)), dim=-1)

    def apply_input_shift(self, Wx: Tensor, state: State) -> tuple[Tensor, State]:
        Wx, Vx = Wx.chunk(2, dim=-1)
        _, _, before = state
        return Wx + cat((before[None], Vx[:-1])), (Vx[-1],)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        z, f, _ = Wx.chunk(3, dim=-1)
        z, f = tanh(z), sigmoid(f)
        return f, (1 - f) * z

    def read_out(self, Wx: Tensor, s: Tensor) -> Tensor:
        _, _, o = Wx.chunk(3, dim=-1)
        o = sigmoid(o)
        return o * s

    def step(self, Wx: Tensor, state: State) -> State:
        h, c, before = state
        Wx, Vx = Wx.chunk(2, dim=-1)
        h, c = super().step(Wx + before, (h, c))
        return h, c, Vx

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        del write  # 1 - f writes: it has no bias of its own
        _, f, _ = self.W.bias.data.chunk(3)
        f.copy_(bias)
