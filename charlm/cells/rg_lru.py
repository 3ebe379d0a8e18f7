"""De et al. (2024), "Griffin: mixing gated linear recurrences with local attention": the RG-LRU."""

import torch
from torch import Tensor, cat, exp, nn, sigmoid, sqrt
from torch.nn.functional import logsigmoid

from charlm.cells.base import LinearCell, register_cell


@register_cell("rg-lru")
class RGLRU(LinearCell):
    """u = W x                               the width of the units
    r, i = sigmoid(V u + b)              recurrence and input gate
    a = sigmoid(L)^(8 r)                  share kept
    h' = a h + sqrt(1 - a^2) i u

    The root has 1e-6 added, so that its slope is finite where a rounds to 1.

    Parameters: HX + 2H(H + 1) + H for X inputs and H units. b begins at 0 and L so that a, where
    r = 1, is uniform between 0.9 and 0.999, as in the paper: units that forget at every pace.
    """

    gate_descriptions = {"r": "recurrence gate: 0 holds all", "i": "input gate", "a": "share kept"}
    candidate_name = "u"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden, bias=False)
        self.V = nn.Linear(hidden, 2 * hidden)
        self.L = nn.Parameter(torch.empty(hidden))
        nn.init.zeros_(self.V.bias)
        self.init_retention_bias(torch.empty(hidden).uniform_(0.9, 0.999).sqrt().logit())

    def project_inputs(self, x: Tensor) -> Tensor:
        u = self.W(x)
        return cat((u, self.V(u)), dim=-1)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        u, r, i = Wx.chunk(3, dim=-1)
        r, i = sigmoid(r), sigmoid(i)
        a = exp(8 * r * logsigmoid(self.L))
        return a, sqrt(1 - a * a + 1e-6) * i * u

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        _, i = self.V.bias.data.chunk(2)
        root = logsigmoid(bias) / 4  # log sigmoid(L), where r = 1/2 makes a = sigmoid(bias)
        self.L.data.copy_(root - torch.log(-torch.expm1(root)))
        if write is not None:
            i.copy_(write)
