"""Feng et al. (2024), "Were RNNs all we needed?": minGRU, the GRU whose gate does not see h."""

import torch
from torch import Tensor, nn, sigmoid

from charlm.cells.base import LinearCell, register_cell


@register_cell("mingru")
class MinGRU(LinearCell):
    """z = sigmoid(W_z x + b_z)      1 takes the candidate, 0 keeps the past
    n = W_n x + b_n               candidate
    h' = (1 - z) h + z n

    This is the main text's. The appendix has n positive, so as to walk time in logarithms.

    Parameters: 2H(X + 1) for X inputs and H units. b_z begins at -1, so that a unit keeps at first.
    """

    gate_descriptions = {"z": "update gate: 1 takes the candidate, 0 keeps the past"}
    candidate_name = "n"
    retention_expression = "1 - z"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 2 * hidden)
        self.init_retention_bias(torch.ones(hidden))

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        z, n = Wx.chunk(2, dim=-1)
        z = sigmoid(z)
        return 1 - z, z * n

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        del write  # z writes what 1 - z does not keep
        z, _ = self.W.bias.data.chunk(2)
        z.copy_(-bias)
