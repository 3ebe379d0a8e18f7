"""Gu & Dao (2023), "Mamba: linear-time sequence modeling": the selective state space S6."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, cat, exp, nn
from torch.nn.functional import silu, softplus

from charlm.cells.base import State, register_cell
from charlm.cells.linear_cell import LinearCell

STATE_SIZE = 16  # numbers of state per unit
RANK = 8  # of the projection to the time steps


@register_cell("mamba")
class Mamba(LinearCell):
    """Selective state space: 16 numbers per unit, whose decay and writing depend on the input.

    u = silu(W_u x),  z = W_z x
    r, B, C = V u                       B and C: 16 numbers that all units share
    d = softplus(W_d r + b_d)           time step of a unit
    s' = exp(d A) s + d B u             16 numbers s of each unit, A = -exp(A_log)
    h' = (C . s' + D u) silu(z)         gated output

    With signed eigenvalues the factor of s is 2 exp(d A) - 1, from -1 to 1 (Grazzi et al. 2025).

    The published layer has a convolution before u and a projection of h, which are left out. r has
    8 numbers; published are X / 16.

    Parameters: 2HX + 66H for X inputs and H units. As in the authors' code A starts at -1 to -16 in
    each unit, D at 1, W_d uniform within 1 / sqrt(8), and b_d so that d is from 0.001 to 0.1,
    uniform in its logarithm: units retain their slowest number for 10 to 1000 steps.
    """

    states = ("h", "s")
    output_is_readout = True
    options: ClassVar[tuple[str, ...]] = ("eigenvalues",)
    candidate_name = "u"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        eigenvalues: Literal["positive", "signed"] = "positive",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.eigenvalues = eigenvalues
        self.W = nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.V = nn.Linear(hidden_size, RANK + 2 * STATE_SIZE, bias=False)
        self.W_d = nn.Linear(RANK, hidden_size)
        self.A_log = nn.Parameter(torch.arange(1.0, STATE_SIZE + 1).log().repeat(hidden_size))
        self.D = nn.Parameter(torch.ones(hidden_size))
        nn.init.uniform_(self.W_d.weight, -(RANK**-0.5), RANK**-0.5)
        d = torch.empty(hidden_size).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.W_d.bias.data.copy_(d.expm1().log())  # the inverse of softplus

    @property
    def flops(self) -> int:
        """FLOPs of one step, with C . s'."""
        return super().flops + 2 * self.hidden_size * STATE_SIZE

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size) and s (batch, hidden_size * 16)."""
        zeros = self.D.new_zeros
        return zeros(batch_size, self.hidden_size), zeros(batch_size, self.hidden_size * STATE_SIZE)

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [u | z | d | B | C]."""
        u, z = self.W(x).chunk(2, dim=-1)
        u = silu(u)
        r, B, C = self.V(u).split((RANK, STATE_SIZE, STATE_SIZE), dim=-1)
        return cat((u, z, softplus(self.W_d(r)), B, C), dim=-1)

    def split_projection(self, Wx: Tensor) -> tuple[Tensor, ...]:
        """Return u, z and d (..., hidden_size), B and C (..., 16) from Wx (..., any)."""
        H = self.hidden_size
        return Wx.split((H, H, H, STATE_SIZE, STATE_SIZE), dim=-1)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """Return exp(d A), or 2 exp(d A) - 1, and d B u."""
        u, _, d, B, _ = self.split_projection(Wx)
        self.record(u=u)  # `step` records a
        A = -exp(self.A_log).unflatten(0, (self.hidden_size, STATE_SIZE))
        a = exp(d[..., None] * A)
        if self.eigenvalues == "signed":
            a = 2 * a - 1
        b = (d * u)[..., None] * B[..., None, :]
        return a.flatten(-2), b.flatten(-2)

    def read_out(self, Wx: Tensor, s: Tensor) -> Tensor:
        """Return (C . s + D u) silu(z)."""
        u, z, _, _, C = self.split_projection(Wx)
        s = s.unflatten(-1, (self.hidden_size, STATE_SIZE))
        Cs: Tensor = (s @ C[..., None]).squeeze(-1)
        return (Cs + self.D * u) * silu(z)

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return |a| of the number of each unit that retains most at first, (..., hidden_size)."""
        return recorded["a"].unflatten(-1, (self.hidden_size, STATE_SIZE))[..., 0].abs()
