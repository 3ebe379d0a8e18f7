"""Feng et al. (2024), "Were RNNs all we needed?": minLSTM, the LSTM whose gates do not see h."""

import torch
from torch import Tensor, nn, sigmoid
from torch.nn.functional import logsigmoid

from charlm.cells.base import LinearCell, register_cell


@register_cell("minlstm")
class MinLSTM(LinearCell):
    """f, i = sigmoid(W x + b)                    forget (1 keeps) and input gate
    n = W_n x + b_n                            candidate
    h' = f / (f + i) h + i / (f + i) n

    This is the main text's, its shares normalised. f / (f + i) = sigmoid(log f - log i), which is
    never 0 / 0.

    Parameters: 3H(X + 1) for X inputs and H units. b_f begins at 1 and b_i at -1: f + i is 1 there,
    so that the unit keeps sigmoid(1) at first.
    """

    gate_descriptions = {"f": "share kept, f / (f + i)", "i": "share of the candidate, i / (f + i)"}
    candidate_name = "n"
    retention_expression = "f"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden)
        self.init_retention_bias(torch.ones(hidden))

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        f, i, n = Wx.chunk(3, dim=-1)
        keep = logsigmoid(f) - logsigmoid(i)
        f, i = sigmoid(keep), sigmoid(-keep)
        return f, i * n

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        del write  # it is normalised: i writes what f does not keep
        f, i, _ = self.W.bias.data.chunk(3)
        f.copy_(bias)
        i.copy_(-bias)
