"""Yang et al. (2025), "Gated delta networks": DeltaNet with a decay."""

import math
from typing import Literal

import torch
from torch import Tensor, cat, exp, nn
from torch.nn.functional import silu, softplus

from charlm.cells.base import register_cell
from charlm.cells.delta_cell import DeltaCell


@register_cell("gated-deltanet")
class GatedDeltaNet(DeltaCell):
    """DeltaNet that also forgets, and whose output is gated.

    q, k = silu(W x) / |silu(W x)|          query and key of each head
    v = silu(W_v x)                         value of each head
    a = exp(-exp(A) softplus(W_a x + d))    decay of each head: 1 retains all
    b = sigmoid(W_b x)                      strength of the write; doubled if signed
    S' = a S + b k (v - a S^T k)^T          memory
    h' = silu(W_g x) RMSnorm(S'^T q)        norm of each head

    With eigenvalues="signed" b is 2 sigmoid, as in Grazzi et al. (2025), so that S can change its
    sign along k. The published layer has a convolution before q, k and v and a projection after h,
    which are left out.

    Parameters: 4HX + 2NX + 2N + H/N for X inputs, H units and N heads. As in the authors' code
    exp(A) starts uniform between 0 and 16, and d so that softplus(d) is log-uniform between 0.001
    and 0.1: heads with many time constants.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 4,
        eigenvalues: Literal["positive", "signed"] = "positive",
    ) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads, eigenvalues=eigenvalues)
        self.V = nn.Linear(input_size, hidden_size + num_heads, bias=False)
        rate = torch.empty(num_heads).uniform_(0, 16).clamp(min=1e-3)  # 0 has no logarithm
        step_size = torch.empty(num_heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.A = nn.Parameter(rate.log())
        self.d = nn.Parameter(step_size.expm1().log())  # the inverse of softplus

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [q | k | v | b | W_g x | W_a x]."""
        return cat((self.W(x), self.V(x)), dim=-1)

    def log_decay(self, Wx: Tensor) -> Tensor:
        """Return log a (..., heads)."""
        log_a: Tensor = -exp(self.A) * softplus(Wx[..., -self.num_heads :] + self.d)
        self.record(a=exp(log_a))
        return log_a

    def gate_output(self, Wx: Tensor, h: Tensor) -> Tensor:
        """Return silu(W_g x) h."""
        g = Wx[..., sum(self.sizes) : -self.num_heads]
        return silu(g) * h
