"""Orvieto et al. (2023), "Resurrecting recurrent neural networks for long sequences": the LRU."""

from math import tau

import torch
from torch import Tensor, cat, complex, cos, exp, log, nn, sin

from charlm.cells.base import Cell, State, register_cell

R_MIN, R_MAX = 0.9, 0.999  # the ring in which the eigenvalues start


@register_cell("lru")
class LRU(Cell):
    """Linear recurrent unit: a diagonal complex recurrence.

    s' = L s + exp(gamma) B x          L = exp(-exp(nu) + i exp(theta)), H complex numbers
    y = Re(C s') + D x                 B and C are complex, D is real

    The complex state is carried as [re|im]. D is a matrix, since X need not be H; the paper's is a
    vector.

    Parameters: 3HX + 2H*H + 3H for X inputs and H units. L starts uniform on a ring, at a radius
    from 0.9 to 0.999, and exp(gamma) = sqrt(1 - |L|^2), so that s has the size of B x whatever the
    time constant. B and C start normal, so that B x has the size of x, and y that of s.
    """

    states = ("h", "s")
    output_is_readout = True
    retention_expression = "|L|"
    retention_is_constant = True

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size, bias=False)  # Re B, Im B and D
        self.C = nn.Linear(2 * hidden_size, hidden_size, bias=False)  # Re C and -Im C
        radius = (R_MIN**2 + (R_MAX**2 - R_MIN**2) * torch.rand(hidden_size)).sqrt()
        self.nu = nn.Parameter(log(-log(radius)))
        self.theta = nn.Parameter(log(tau * (1 - torch.rand(hidden_size))))
        self.gamma = nn.Parameter(log(1 - radius**2) / 2)
        nn.init.normal_(self.W.weight, std=(2 * input_size) ** -0.5)
        nn.init.normal_(self.W.weight.data[2 * hidden_size :], std=input_size**-0.5)
        nn.init.normal_(self.C.weight, std=hidden_size**-0.5)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size) and s (batch, 2 * hidden_size)."""
        zeros = self.nu.new_zeros
        return zeros(batch_size, self.hidden_size), zeros(batch_size, 2 * self.hidden_size)

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [Re exp(gamma) B x | Im exp(gamma) B x | D x]."""
        re, im, Dx = self.W(x).chunk(3, dim=-1)
        return cat((exp(self.gamma) * re, exp(self.gamma) * im, Dx), dim=-1)

    def spectrum(self) -> Tensor:
        """Return the eigenvalues L, complex (hidden_size,)."""
        return exp(complex(-exp(self.nu), exp(self.theta)))

    def drive(self, Wx: Tensor) -> Tensor:
        """Return exp(gamma) B x, complex (..., hidden_size), from Wx (..., any)."""
        re, im, _ = Wx.chunk(3, dim=-1)
        return complex(re, im)

    def read_out(self, Wx: Tensor, s: Tensor) -> Tensor:
        """Return y (..., hidden_size) from s as [re|im] (..., 2 * hidden_size)."""
        _, _, Dx = Wx.chunk(3, dim=-1)
        y: Tensor = self.C(s) + Dx
        return y

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (y, s)."""
        re, im = state[1].chunk(2, dim=-1)
        add_re, add_im, _ = Wx.chunk(3, dim=-1)
        radius = exp(-exp(self.nu))
        self.record(radius=radius)
        L_re, L_im = radius * cos(exp(self.theta)), radius * sin(exp(self.theta))
        s = cat((L_re * re - L_im * im + add_re, L_re * im + L_im * re + add_im), dim=-1)
        return self.read_out(Wx, s), s

    def unit_states(self, state: State) -> dict[str, Tensor]:
        """Return y and the absolute value of s."""
        return {"h": state[0], "|s|": complex(*state[1].chunk(2, dim=-1)).abs()}

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return |L|, (hidden_size,)."""
        return recorded["radius"]
