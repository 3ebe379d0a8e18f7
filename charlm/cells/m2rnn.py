"""Mishra et al. (2026), "M2RNN": a matrix memory with a nonlinear transition."""

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, einsum, exp, nn, tanh
from torch.nn.functional import rms_norm, silu, softplus

from charlm.cells.base import Cell, State, register_cell
from charlm.cells.matrix_memory import decay, read, write

NORM_EPSILON = 1e-5


@register_cell("m2rnn")
class M2RNN(Cell):
    """RNN whose state is a matrix for each head, to which a key and a value write.

    q, k = W x                              query and key, the same for all heads
    v, g = W x                              value and output gate of each unit
    f = exp(-exp(A) softplus(W_f x + d))    forget gate of each head: 1 retains all
    M' = f M + (1 - f) tanh(M R + k v^T)    memory of each head
    h' = RMSnorm(silu(g) (M'^T q + D v))    norm of all units

    The keys are as wide as the values of a head. In the authors' code the gradient of M is clipped
    in each step, which is left out, as are the convolution before q, k and v and the projection
    after h.

    Parameters: 2HX + 2HX/N + NX + 2N + H*H/N + 2H for X inputs, H units and N heads. As in the
    authors' code R starts as the identity, D and the weight of the norm at 1, exp(A) uniform
    between 0 and 16, and d so that softplus(d) is log-uniform between 0.001 and 0.1.
    """

    options: ClassVar[tuple[str, ...]] = ("num_heads",)
    states = ("h", "M")
    output_is_readout = True
    gate_descriptions = {"f": "forget gate of the head: 1 retains, 0 replaces"}
    candidate_name = "v"
    retention_expression = "f"

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.head_size = hidden_size // num_heads
        self.sizes = self.head_size, self.head_size, hidden_size, hidden_size, num_heads
        self.W = nn.Linear(input_size, sum(self.sizes), bias=False)
        self.R = nn.Parameter(torch.eye(self.head_size).repeat(num_heads, 1, 1))
        rate = torch.empty(num_heads).uniform_(0, 16).clamp(min=1e-3)  # 0 has no logarithm
        step_size = torch.empty(num_heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.A = nn.Parameter(rate.log())
        self.d = nn.Parameter(step_size.expm1().log())  # the inverse of softplus
        self.D = nn.Parameter(torch.ones(hidden_size))
        self.norm = nn.Parameter(torch.ones(hidden_size))

    @property
    def flops(self) -> int:
        """FLOPs of one step: W x, M R for each of the keys, and M^T q."""
        per_key = 2 * self.hidden_size * (self.head_size + 1)
        return 2 * self.W.weight.numel() + self.head_size * per_key

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size) and M (batch, heads, head_size, head_size)."""
        zeros = self.W.weight.new_zeros
        M = zeros(batch_size, self.num_heads, self.head_size, self.head_size)
        return zeros(batch_size, self.hidden_size), M

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield R of each head, which its memory is multiplied by."""
        yield from self.R.data

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, M)."""
        _, M = state
        q, k, v, g, f = Wx.split(self.sizes, dim=-1)
        f = exp(-exp(self.A) * softplus(f + self.d))
        self.record(f=f, v=v)
        shape = self.num_heads, self.head_size
        keys, queries = (part[:, None].expand(-1, *shape) for part in (k, q))
        update = einsum("bhkv,hvw->bhkw", M, self.R)
        candidate = tanh(write(update, keys, v.unflatten(-1, shape)))
        M = decay(M, f) + decay(candidate, 1 - f)
        Mq = read(M, queries).flatten(-2)
        h = rms_norm(silu(g) * (Mq + self.D * v), (self.hidden_size,), self.norm, NORM_EPSILON)
        return h, M
