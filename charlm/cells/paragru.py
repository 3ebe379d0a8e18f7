"""Danieli et al. (2025), "ParaRNN: Unlocking parallel training of nonlinear RNNs for large language models": ParaGRU."""  # noqa: E501

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("paragru")
class ParaGRU(Cell):
    """GRU whose recurrent matrices are diagonal: each unit sees of the past only itself.

    z = sigmoid(W_z x + a_z h + b_z)      update gate: 1 takes the candidate, 0 retains
    r = sigmoid(W_r x + a_r h + b_r)      reset gate: how much past the candidate sees
    n = tanh(W_n x + a_n (r h) + b_n)     candidate
    h' = (1 - z) h + z n

    Left out: the paper's training in parallel over time by Newton's method, whose result is the
    same. In its models W is divided into heads, and a convolution comes before the cell.

    Parameters: 3H(X + 2) for X inputs and H units. a starts normal with the variance 0.8/H, as in
    the authors' code, and b_z at -1, so that a unit retains at first; theirs is from 0 to -1.
    """

    gate_descriptions = {
        "z": "update gate: 1 takes the candidate, 0 retains the past",
        "r": "reset gate: 1 shows the past to the candidate",
    }
    candidate_name = "n"
    retention_expression = "1 - z"
    forget_gate = "z"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.a = nn.Parameter(torch.randn(3 * hidden_size) * (0.8 / hidden_size) ** 0.5)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (h,) = state
        z, r, n = Wx.chunk(3, dim=-1)
        a_z, a_r, a_n = self.a.chunk(3, dim=-1)
        z = sigmoid(z + a_z * h)
        r = sigmoid(r + a_r * h)
        n = tanh(n + a_n * (r * h))
        self.record(z=z, r=r, n=n)
        return ((1 - z) * h + z * n,)

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return 1 - z."""
        return 1 - recorded["z"]

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Set b_z to -bias: here 1 - z retains, and z writes."""
        del write  # z has one bias
        z, _, _ = self.W.bias.data.chunk(3)
        z.copy_(-bias)
