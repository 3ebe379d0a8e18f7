"""Feng et al. (2024), "Were RNNs all we needed?": minGRU, the GRU whose gate does not see h."""

import torch
from torch import Tensor, nn, sigmoid

from charlm.cells.base import register_cell
from charlm.cells.linear_cell import LinearCell


@register_cell("mingru")
class MinGRU(LinearCell):
    """GRU reduced to an update gate that does not see the state.

    z = sigmoid(W_z x + b_z)      update gate: 1 takes the candidate, 0 retains
    n = W_n x + b_n               candidate
    h' = (1 - z) h + z n

    This is the version of the main text. In the appendix n is positive, for a scan in logarithms.

    Parameters: 2H(X + 1) for X inputs and H units. b_z starts at -1, so that a unit retains at
    first.
    """

    gate_descriptions = {"z": "update gate: 1 takes the candidate, 0 retains the past"}
    candidate_name = "n"
    retention_expression = "1 - z"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.init_retention_bias(torch.ones(hidden_size))

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - z and z n."""
        z, n = Wx.chunk(2, dim=-1)
        z = sigmoid(z)
        self.record(z=z, n=n)
        return 1 - z, z * n

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Set b_z to -bias: here 1 - z retains, and z writes."""
        del write  # z has one bias
        z, _ = self.W.bias.data.chunk(2)
        z.copy_(-bias)
