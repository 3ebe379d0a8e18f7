"""Lei et al. (2018), "Simple recurrent units for highly parallelizable recurrence"."""

import torch
from torch import Tensor, cat, nn, sigmoid

from charlm.cells.base import Cell, State, register_cell


@register_cell("sru")
class SRU(Cell):
    """f = sigmoid(W_f x + v_f c + b_f)      forget gate: 1 keeps, 0 replaces
    r = sigmoid(W_r x + v_r c + b_r)      reset gate: 1 reads the cell, 0 the input
    u = W_u x                             candidate
    c' = f c + (1 - f) u
    h' = r c' + (1 - r) S x               S is sqrt(3) where X = H, a matrix elsewhere

    Parameters: 4HX + 4H for X inputs and H units, and HX fewer where X = H. The paper's beginning:
    weights have the variance 1 / X, those of gates and v half as much, S x thrice, so that h is as
    large as x; b_r is 0. But b_f begins at 1, as every gate here that keeps.
    """

    states = ("h", "c")
    output_is_readout = True
    gate_descriptions = {
        "f": "forget gate: 1 keeps, 0 replaces",
        "r": "reset gate: 1 reads the cell, 0 the input",
    }
    candidate_name = "u"
    retention_expression = "f"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 2 * hidden)
        self.W_u = nn.Linear(inputs, hidden, bias=False)
        self.S = None if inputs == hidden else nn.Linear(inputs, hidden, bias=False)
        self.v = nn.Parameter(torch.empty(2 * hidden))
        weights = [(self.W.weight, 0.5 / inputs), (self.W_u.weight, 1 / inputs), (self.v, 0.5)]
        if self.S is not None:
            weights.append((self.S.weight, 3 / inputs))
        for weight, variance in weights:
            nn.init.uniform_(weight, -((3 * variance) ** 0.5), (3 * variance) ** 0.5)
        nn.init.zeros_(self.W.bias)
        self.init_retention_bias(torch.ones(hidden))

    def project_inputs(self, x: Tensor) -> Tensor:
        skip = 3**0.5 * x if self.S is None else self.S(x)
        return cat((self.W(x), self.W_u(x), skip), dim=-1)

    def step(self, Wx: Tensor, state: State) -> State:
        _, c = state
        f, r, u, skip = Wx.chunk(4, dim=-1)
        v_f, v_r = self.v.chunk(2, dim=-1)
        f = sigmoid(f + v_f * c)
        r = sigmoid(r + v_r * c)
        c = f * c + (1 - f) * u
        h = r * c + (1 - r) * skip
        return h, c

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        del write  # 1 - f writes: it has no bias of its own
        f, _ = self.W.bias.data.chunk(2)
        f.copy_(bias)
