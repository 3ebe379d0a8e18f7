"""De et al. (2024), "Griffin: mixing gated linear recurrences with local attention": the RG-LRU."""

import torch
from torch import Tensor, cat, exp, expm1, nn, sigmoid, sqrt
from torch.nn.functional import logsigmoid

from charlm.cells.base import register_cell
from charlm.cells.linear_cell import LinearCell


@register_cell("rg-lru")
class RGLRU(LinearCell):
    """Real-gated linear recurrent unit.

    u = W x                              the input, as wide as the units
    r, i = sigmoid(V u + b)              recurrence and input gate
    a = sigmoid(L)^(8 r)                 fraction retained
    h' = a h + sqrt(1 - a^2) i u

    The root has 1e-6 added, so that its slope is finite where a rounds to 1. V is a full matrix; in
    the authors' code it is block-diagonal, and the first token is not multiplied by the root.

    Parameters: HX + 2H(H + 1) + H for X inputs and H units. V starts normal with the variance 1 / H
    and b at 0. L starts so that a, where r = 1, is uniform between 0.9 and 0.999, as in the paper:
    units with many time constants. In the authors' code a^2 is uniform.
    """

    gate_descriptions = {
        "r": "recurrence gate: 0 retains all",
        "i": "input gate",
        "a": "fraction retained",
    }
    candidate_name = "u"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.V = nn.Linear(hidden_size, 2 * hidden_size)
        self.L = nn.Parameter(torch.empty(hidden_size))
        nn.init.normal_(self.V.weight, std=hidden_size**-0.5)
        nn.init.zeros_(self.V.bias)
        root = torch.empty(hidden_size).uniform_(0.9, 0.999) ** (1 / 8)  # sigmoid(L)
        self.L.data.copy_(root.logit())

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [u | V u + b]."""
        u = self.W(x)
        return cat((u, self.V(u)), dim=-1)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and sqrt(1 - a^2) i u."""
        u, r, i = Wx.chunk(3, dim=-1)
        r, i = sigmoid(r), sigmoid(i)
        log_a = 8 * r * logsigmoid(self.L)
        self.record(r=r, i=i, u=u)  # `step` records a
        # 1 - a^2 without the digits that a near 1 would lose
        one_minus_square = -expm1(2 * log_a)
        return exp(log_a), sqrt(one_minus_square + 1e-6) * i * u
