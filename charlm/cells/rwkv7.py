"""Peng et al. (2025), "RWKV-7": time mixing with an expressive dynamic state evolution."""

import math
from typing import ClassVar

import torch
from torch import Tensor, cat, exp, nn, sigmoid, tanh
from torch.nn.functional import layer_norm, linear, normalize

from charlm.cells.base import Cell, State, register_cell
from charlm.cells.matrix_memory import decay, read, write

RANK = 32  # of w, a and g: the least in the authors' code, which they have up to 500 units
NORM_EPSILON = 64e-5
MIX_EXPONENTS = 0.2, 0.7, 0.7, 0.9, 0.9, 0.2  # of r, k, v, w, a, g


@register_cell("rwkv7")
class RWKV7(Cell):
    """Matrix memory with a decay per channel, and a delta rule whose key is not that of the write.

    x_i = x + m_i (y - x)                   token shift for i = r, k, v, w, a, g; y is the last x
    r, k, v = W_r x_r, W_k x_k, W_v x_v     receptance (the query), key and value of each head
    w = exp(-sigmoid(V_w tanh(W_w x_w) + b_w) / sqrt(e))     decay of each channel: 1 retains
    a = sigmoid(V_a W_a x_a + b_a)          learning rate of each channel in context
    g = V_g sigmoid(W_g x_g)                output gate
    K = (c k) / |c k|                       key of what is removed, unit length in each head
    k = k (1 + (a - 1) d)                   key of what is written
    S' = w S - (a K) (S^T K)^T + k v^T      memory
    h' = g (groupnorm(S'^T r) + (r k e)^T 1 v)               norm and sum of each head

    The token shift is computed on what W makes of x and of y, and carries W y. In layers above the
    first the published v is mixed with that of the first layer, which is left out: a cell knows no
    other layer. The projection after h is left out too. W_w, W_a and W_g have the rank 32.

    Parameters: 3HX + 102X + 103H for X inputs, H units and N heads. As in the authors' code of a
    first layer: m, b_w and c are those of `reset_parameters`, W_w, W_a and W_g start at 0, V
    orthogonal times 0.1, b_a and e at 0, and d at 1.
    """

    options: ClassVar[tuple[str, ...]] = ("num_heads",)
    states = ("h", "S", "Wy")
    output_is_readout = True
    gate_descriptions = {
        "w": "decay of the channel: 1 retains",
        "a": "learning rate in context: 1 replaces what the key holds",
    }
    candidate_name = "v"
    retention_expression = "w"

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.head_size = hidden_size // num_heads
        self.sizes = *3 * (hidden_size,), *3 * (RANK,)  # of r, k, v, w, a, g
        self.W = nn.Linear(input_size, sum(self.sizes), bias=False)
        self.m = nn.Parameter(torch.empty(6, input_size))
        self.V_w = nn.Linear(RANK, hidden_size)
        self.V_a = nn.Linear(RANK, hidden_size)
        self.V_g = nn.Linear(RANK, hidden_size, bias=False)
        self.c, self.d, self.e = (nn.Parameter(torch.empty(hidden_size)) for _ in "cde")
        self.norm = nn.LayerNorm(hidden_size)  # its weights; the norm is of each head
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the initial values of the authors' code, for a first layer."""
        channel = torch.arange(self.input_size) / self.input_size
        for m, exponent in zip(self.m, MIX_EXPONENTS, strict=True):
            m.copy_(1 - channel**exponent)
        r, k, v, *low_rank = self.W.weight.split(self.sizes)
        for weight, scale in ((r, 0.5), (k, 0.05), (v, 0.5)):
            nn.init.uniform_(weight, -scale, scale).div_(math.sqrt(self.input_size))
        for weight in low_rank:
            nn.init.zeros_(weight)
        for layer in (self.V_w, self.V_a, self.V_g):
            nn.init.orthogonal_(layer.weight, 0.1)
        unit = torch.linspace(0, 1, self.hidden_size)
        self.V_w.bias.copy_(5 * unit**0.85 - 6.5)
        nn.init.zeros_(self.V_a.bias)
        for parameter, value in ((self.c, 0.85), (self.d, 1.0), (self.e, 0.0)):
            nn.init.constant_(parameter, value)

    @property
    def flops(self) -> int:
        """FLOPs of one step: W of x and of y, and the memory read at two keys."""
        reads = 4 * self.hidden_size * self.head_size
        return super().flops - 2 * self.m.numel() + 2 * self.W.weight.numel() + reads

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size), S (batch, heads, ...) and W y (batch, any)."""
        zeros = self.W.weight.new_zeros
        S = zeros(batch_size, self.num_heads, self.head_size, self.head_size)
        return zeros(batch_size, self.hidden_size), S, zeros(batch_size, sum(self.sizes))

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [W (1 - m) x | W m x]: what x gives to its own token and to the next."""
        W = self.W.weight
        m = cat([m.expand(size, -1) for m, size in zip(self.m, self.sizes, strict=True)])
        return cat((linear(x, W * (1 - m)), linear(x, W * m)), dim=-1)

    def per_head(self, x: Tensor) -> Tensor:
        """Return x (..., hidden_size) as (..., heads, head_size)."""
        heads: Tensor = x.unflatten(-1, (self.num_heads, self.head_size))
        return heads

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, S, W m x)."""
        _, S, Wy = state
        Wx, next_Wy = Wx.chunk(2, dim=-1)
        r, k, v, w, a, g = (Wx + Wy).split(self.sizes, dim=-1)
        w = exp(-sigmoid(self.V_w(tanh(w))) * math.exp(-0.5))
        a = sigmoid(self.V_a(a))
        g = self.V_g(sigmoid(g))
        self.record(w=w, a=a, v=v)
        removed = normalize(self.per_head(self.c * k), dim=-1)
        k = k * (1 + (a - 1) * self.d)
        w, a, r, k, v, e = (self.per_head(part) for part in (w, a, r, k, v, self.e))
        S = write(write(decay(S, w), -a * removed, read(S, removed)), k, v)
        h = layer_norm(read(S, r), (self.head_size,), eps=NORM_EPSILON).flatten(-2)
        h = h * self.norm.weight + self.norm.bias
        current = (r * k * e).sum(-1, keepdim=True) * v
        return g * (h + current.flatten(-2)), S, next_Wy
