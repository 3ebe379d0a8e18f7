"""Lei et al. (2018), "Simple recurrent units for highly parallelizable recurrence"."""

import torch
from torch import Tensor, cat, nn, sigmoid

from charlm.cells.base import Cell, State, register_cell


@register_cell("sru")
class SRU(Cell):
    """Simple recurrent unit: units see only themselves, and a highway passes the input.

    f = sigmoid(W_f x + v_f c + b_f)      forget gate: 1 retains, 0 replaces
    r = sigmoid(W_r x + v_r c + b_r)      reset gate: 1 reads the cell state, 0 the input
    u = W_u x                             candidate
    c' = f c + (1 - f) u
    h' = r c' + (1 - r) S x               S is sqrt(3) where X = H, else a matrix

    Parameters: 4HX + 4H for X inputs and H units, and HX fewer where X = H. Initialization as in
    the paper: weights have the variance 1 / X, those of gates and v half as much, S x three times,
    so that h is as large as x; b_r is 0. But b_f starts at 1, as every forget gate here.
    """

    states = ("h", "c")
    output_is_readout = True
    gate_descriptions = {
        "f": "forget gate: 1 retains, 0 replaces",
        "r": "reset gate: 1 reads the cell state, 0 the input",
    }
    candidate_name = "u"
    retention_expression = "f"
    bias_gates = ("f", "r")
    forget_gate = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.W_u = nn.Linear(input_size, hidden_size, bias=False)
        has_matrix = input_size != hidden_size
        self.S = nn.Linear(input_size, hidden_size, bias=False) if has_matrix else None
        self.v = nn.Parameter(torch.empty(2 * hidden_size))
        variances = [
            (self.W.weight, 0.5 / input_size),
            (self.W_u.weight, 1 / input_size),
            (self.v, 0.5),
        ]
        if self.S is not None:
            variances.append((self.S.weight, 3 / input_size))
        for weight, variance in variances:
            nn.init.uniform_(weight, -((3 * variance) ** 0.5), (3 * variance) ** 0.5)
        nn.init.zeros_(self.W.bias)
        self.init_retention_bias(torch.ones(hidden_size))

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [W x + b | W_u x | S x]."""
        skip = 3**0.5 * x if self.S is None else self.S(x)
        return cat((self.W(x), self.W_u(x), skip), dim=-1)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, c)."""
        _, c = state
        f, r, u, skip = Wx.chunk(4, dim=-1)
        v_f, v_r = self.v.chunk(2, dim=-1)
        f = sigmoid(f + v_f * c)
        r = sigmoid(r + v_r * c)
        self.record(f=f, r=r, u=u)
        c = f * c + (1 - f) * u
        h = r * c + (1 - r) * skip
        return h, c
