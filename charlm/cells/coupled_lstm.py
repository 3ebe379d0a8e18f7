"""Greff et al. (2017), "LSTM: a search space odyssey": CIFG, the LSTM whose input gate is what
its forget gate leaves, here without peepholes."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("coupled-lstm")
class CoupledLSTM(Cell):
    """f, o = sigmoid(W x + U h + b)         forget (1 keeps, 0 replaces) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + (1 - f) g                  cell state
    h' = o tanh(c')

    Parameters: 3H(X + H + 1) for X inputs and H units. b_f begins at 1, so that the cell remembers
    at first.
    """

    states = ("h", "c")
    gate_descriptions = {"f": "forget gate: 1 keeps, 0 replaces", "o": "output gate"}
    candidate_name = "g"
    retention_expression = "f"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden)
        self.U = nn.Linear(hidden, 3 * hidden, bias=False)
        self.init_retention_bias(torch.ones(hidden))

    def step(self, Wx: Tensor, state: State) -> State:
        h, c = state
        f, g, o = (Wx + self.U(h)).chunk(3, dim=-1)
        f, g, o = sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + (1 - f) * g
        h = o * tanh(c)
        return h, c

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        del write  # 1 - f writes: it has no bias of its own
        f, _, _ = self.W.bias.data.chunk(3)
        f.copy_(bias)
