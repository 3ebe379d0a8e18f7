"""Orvieto et al. (2023), "Resurrecting recurrent neural networks for long sequences": the LRU."""

from math import tau

import torch
from torch import Tensor, cat, complex, cos, exp, log, nn, sin

from charlm.cells.base import Cell, State, register_cell

R_MIN, R_MAX = 0.9, 0.999  # the ring in which the eigenvalues begin


@register_cell("lru")
class LRU(Cell):
    """s' = L s + exp(gamma) B x          L = exp(-exp(nu) + i exp(theta)), H complex numbers
    y = Re(C s') + D x                 B and C are complex, D is real

    The complex state is carried as [re|im].

    Parameters: 3HX + 2H*H + 3H for X inputs and H units. L begins uniform on a ring, 0.9 to 0.999
    from 0, exp(gamma) = sqrt(1 - |L|^2), so that s has the size of B x however long it remembers;
    B and C begin normal, so that B x has the size of x and y that of s.
    """

    states = ("h", "s")
    output_is_readout = True
    retention_expression = "|L|"
    retention_is_constant = True

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden, bias=False)  # Re B, Im B and D
        self.C = nn.Linear(2 * hidden, hidden, bias=False)  # Re C and -Im C
        size = (R_MIN**2 + (R_MAX**2 - R_MIN**2) * torch.rand(hidden)).sqrt()
        self.nu = nn.Parameter(log(-log(size)))
        self.theta = nn.Parameter(log(tau * (1 - torch.rand(hidden))))
        self.gamma = nn.Parameter(log(1 - size**2) / 2)
        nn.init.normal_(self.W.weight, std=(2 * inputs) ** -0.5)
        nn.init.normal_(self.W.weight.data[2 * hidden :], std=inputs**-0.5)
        nn.init.normal_(self.C.weight, std=hidden**-0.5)

    def initial_state(self, batch: int) -> State:
        zeros = self.nu.new_zeros
        return zeros(batch, self.hidden_size), zeros(batch, 2 * self.hidden_size)

    def project_inputs(self, x: Tensor) -> Tensor:
        re, im, Dx = self.W(x).chunk(3, dim=-1)
        return cat((exp(self.gamma) * re, exp(self.gamma) * im, Dx), dim=-1)

    def spectrum(self) -> Tensor:
        """L, the complex (hidden,)."""
        return exp(complex(-exp(self.nu), exp(self.theta)))

    def drive(self, Wx: Tensor) -> Tensor:
        """(..., any) -> exp(gamma) B x, complex (..., hidden): what is added to L s."""
        re, im, _ = Wx.chunk(3, dim=-1)
        return complex(re, im)

    def read(self, Wx: Tensor, s: Tensor) -> Tensor:
        """y of [re|im] (..., 2 hidden), of one character or of all of them."""
        _, _, Dx = Wx.chunk(3, dim=-1)
        y: Tensor = self.C(s) + Dx
        return y

    def step(self, Wx: Tensor, state: State) -> State:
        re, im = state[1].chunk(2, dim=-1)
        add_re, add_im, _ = Wx.chunk(3, dim=-1)
        size = exp(-exp(self.nu))
        L_re, L_im = size * cos(exp(self.theta)), size * sin(exp(self.theta))
        s = cat((L_re * re - L_im * im + add_re, L_re * im + L_im * re + add_im), dim=-1)
        return self.read(Wx, s), s

    def unit_states(self, state: State) -> dict[str, Tensor]:
        return {"h": state[0], "|s|": complex(*state[1].chunk(2, dim=-1)).abs()}

    def retention(self, letters: dict[str, Tensor]) -> Tensor:
        return letters["size"]
