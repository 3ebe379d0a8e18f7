"""van der Westhuizen & Lasenby (2018), "The unreasonable effectiveness of the forget gate"."""

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell

BETA = 1.0  # the published value; with 0 the unit would replace what it forgets, and no more


@register_cell("janet")
class JANET(Cell):
    """LSTM reduced to its forget gate.

    s = W_s x + U_s h + b_s
    f = sigmoid(s)                        forget gate: 1 retains, 0 forgets
    i = 1 - sigmoid(s - 1)                what of the candidate is let in
    g = tanh(W_g x + U_g h + b_g)         candidate
    h' = f h + i g                        h is the paper's c too

    f + i is above 1: more is added than is forgotten.

    Parameters: 2H(X + H + 1) for X inputs and H units. b_s starts at 1, so that the unit retains at
    first; the paper draws it by `--forget-bias chrono`.
    """

    gate_descriptions = {
        "f": "forget gate: 1 retains, 0 forgets",
        "i": "input gate, tied to f: 1 - sigmoid(s - 1)",
    }
    candidate_name = "g"
    retention_expression = "f"
    bias_gates = ("f", "g")
    forget_gate = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        s, g = (Wx + self.U(h)).chunk(2, dim=-1)
        f, i, g = sigmoid(s), 1 - sigmoid(s - BETA), tanh(g)
        self.record(f=f, i=i, g=g)
        return (f * h + i * g,)
