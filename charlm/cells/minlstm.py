"""Feng et al. (2024), "Were RNNs all we needed?": minLSTM, the LSTM whose gates do not see h."""

import torch
from torch import Tensor, nn, sigmoid
from torch.nn.functional import logsigmoid

from charlm.cells.base import register_cell
from charlm.cells.linear_cell import LinearCell


@register_cell("minlstm")
class MinLSTM(LinearCell):
    """LSTM reduced to two normalized gates that do not see the state.

    f, i = sigmoid(W x + b)                    forget (1 retains) and input gate
    n = W_n x + b_n                            candidate
    h' = f / (f + i) h + i / (f + i) n

    This is the version of the main text, with normalized gates. It is computed as
    f / (f + i) = sigmoid(log f - log i), which is never 0 / 0.

    Parameters: 3H(X + 1) for X inputs and H units. b_f starts at 1 and b_i at -1: f + i is 1 there,
    so that the unit retains sigmoid(1) at first.
    """

    gate_descriptions = {
        "f": "fraction retained, f / (f + i)",
        "i": "fraction of the candidate, i / (f + i)",
    }
    candidate_name = "n"
    retention_expression = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.init_retention_bias(torch.ones(hidden_size))

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalized f, and the normalized i times n."""
        f, i, n = Wx.chunk(3, dim=-1)
        log_ratio = logsigmoid(f) - logsigmoid(i)
        f, i = sigmoid(log_ratio), sigmoid(-log_ratio)
        self.record(f=f, i=i, n=n)
        return f, i * n

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Set b_f to bias and b_i to -bias: the gates are normalized, i writes what f forgets."""
        del write
        f, i, _ = self.W.bias.data.chunk(3)
        f.copy_(bias)
        i.copy_(-bias)
