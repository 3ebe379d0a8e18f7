"""Lahoti et al. (2026), "Mamba-3: improved sequence modeling using state space principles"."""

import math
from typing import ClassVar

import torch
from torch import Tensor, cat, cos, exp, nn, sigmoid, sin, tanh
from torch.nn.functional import rms_norm, silu, softplus

from charlm.cells.base import Cell, State, register_cell
from charlm.cells.matrix_memory import decay, read, write

STATE_SIZE = 16  # numbers of state per unit
NUM_ANGLES = STATE_SIZE // 4  # half of the numbers are rotated, in pairs
EPSILON = 1e-5  # of the norms of B and C


@register_cell("mamba3")
class Mamba3(Cell):
    """Selective state space that is rotated, and reads the last input with this one.

    v, z, B, C, d, A, m, w = W x        for each head d, A and m; all share B, C and the angles w
    d = softplus(d + b_d)               time step
    a = exp(-d max(softplus(A), 1e-4))  fraction retained
    m = sigmoid(m)                      weight of this input, 1 - m that of the last one
    t' = t + d pi tanh(w)               angles, modulo 2 pi
    k' = R(t') (norm(B) + b_k)          rotated: 4 pairs of the 16 numbers, each by its angle
    q = R(t') (norm(C) + b_q)
    S' = a S + (1 - m) d a k v^T + m d k' v'^T
    h' = (S'^T q + D v') silu(z)

    This is the form with one input and one output per head (SISO), without the projection of h.
    norm divides by the root mean square and has weights.

    Parameters: 2HX + 36X + 3NX + 34N + 32 for X inputs, H units and N heads. As in the authors'
    code b_k, b_q, D and the weights of norm start at 1, and b_d so that d is from 0.001 to 0.1,
    uniform in its logarithm.
    """

    states = ("h", "S", "t", "k", "v")
    options: ClassVar[tuple[str, ...]] = ("num_heads",)
    output_is_readout = True
    gate_descriptions = {"a": "fraction retained by the head", "m": "weight of this input"}
    candidate_name = "v"
    retention_expression = "a"

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.sizes = 2 * (hidden_size,) + 2 * (STATE_SIZE,) + 3 * (num_heads,) + (NUM_ANGLES,)
        self.W = nn.Linear(input_size, sum(self.sizes), bias=False)
        d = torch.empty(num_heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.b_d = nn.Parameter(d.expm1().log())  # the inverse of softplus
        self.b_k = nn.Parameter(torch.ones(num_heads, STATE_SIZE))
        self.b_q = nn.Parameter(torch.ones(num_heads, STATE_SIZE))
        self.norm_B = nn.Parameter(torch.ones(STATE_SIZE))
        self.norm_C = nn.Parameter(torch.ones(STATE_SIZE))
        self.D = nn.Parameter(torch.ones(num_heads))

    @property
    def flops(self) -> int:
        """FLOPs of one step: with S'^T q; b_k and b_q are no matrices."""
        biases = self.b_k.numel() + self.b_q.numel()
        return super().flops - 2 * biases + 2 * self.hidden_size * STATE_SIZE

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size), S, t, k and v (batch, heads, ...)."""
        zeros, heads = self.D.new_zeros, (batch_size, self.num_heads)
        head_size = self.hidden_size // self.num_heads
        S, t = zeros(*heads, STATE_SIZE, head_size), zeros(*heads, NUM_ANGLES)
        k, v = zeros(*heads, STATE_SIZE), zeros(*heads, head_size)
        return zeros(batch_size, self.hidden_size), S, t, k, v

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, S, t, k, v)."""
        _, S, t, last_k, last_v = state
        v, z, B, C, d, A, m, w = Wx.split(self.sizes, dim=-1)
        v = v.unflatten(-1, (self.num_heads, -1))
        d = softplus(d + self.b_d)
        a = exp(-d * softplus(A).clamp(min=1e-4))
        m = sigmoid(m)
        self.record(a=a, m=m, v=v.flatten(-2))
        t = (t + d[..., None] * math.pi * tanh(w)[..., None, :]) % math.tau
        k = rotate(rms_norm(B, (STATE_SIZE,), self.norm_B, EPSILON)[..., None, :] + self.b_k, t)
        q = rotate(rms_norm(C, (STATE_SIZE,), self.norm_C, EPSILON)[..., None, :] + self.b_q, t)
        last_weight, weight = (1 - m) * d * a, m * d
        S = write(decay(S, a), last_weight[..., None] * last_k, last_v)
        S = write(S, weight[..., None] * k, v)
        y = read(S, q) + self.D[:, None] * v
        return y.flatten(-2) * silu(z), S, t, k, v


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate pairs of numbers: of the first NUM_ANGLES numbers and of as many that follow them.

    Args:
        x: (..., STATE_SIZE); what follows the pairs is returned as it is.
        angles: (..., NUM_ANGLES), in radians.
    """
    sizes = NUM_ANGLES, NUM_ANGLES, STATE_SIZE - 2 * NUM_ANGLES
    first, second, rest = x.split(sizes, dim=-1)
    c, s = cos(angles), sin(angles)
    return cat((first * c - second * s, first * s + second * c, rest), dim=-1)
