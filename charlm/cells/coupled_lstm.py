"""Greff et al. (2017), "LSTM: a search space odyssey": CIFG, here without peepholes."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("coupled-lstm")
class CoupledLSTM(Cell):
    """LSTM with coupled gates: what is forgotten is replaced.

    f, o = sigmoid(W x + U h + b)         forget (1 retains, 0 replaces) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + (1 - f) g                  cell state
    h' = o tanh(c')

    Parameters: 3H(X + H + 1) for X inputs and H units. b_f starts at 1, so that the cell remembers
    at first.
    """

    states = ("h", "c")
    gate_descriptions = {"f": "forget gate: 1 retains, 0 replaces", "o": "output gate"}
    candidate_name = "g"
    retention_expression = "f"
    bias_gates = ("f", "g", "o")
    forget_gate = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.U = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c)."""
        h, c = state
        f, g, o = (Wx + self.U(h)).chunk(3, dim=-1)
        f, g, o = sigmoid(f), tanh(g), sigmoid(o)
        self.record(f=f, g=g, o=o)
        c = f * c + (1 - f) * g
        h = o * tanh(c)
        return h, c
