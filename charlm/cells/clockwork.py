"""Koutník et al. (2014), "A clockwork RNN"."""

import torch
from torch import Tensor, cat, exp, nn, remainder, tanh, where

from charlm.cells.base import Cell, State, register_cell

MODULES = 8


@register_cell("clockwork")
class Clockwork(Cell):
    """h_k' = tanh(W_k x + sum over j >= k of U_kj h_j + b_k)      if t mod 2^k = 0
    h_k' = h_k                                                  else

    There are 8 modules of H / 8 units, with periods 1, 2, 4, ... 128: module k reads itself and the
    slower ones. Time t is in the state, modulo 128, so that a text can be cut anywhere.

    Parameters: H(X + 1) + 9H*H/16 for X inputs and H units. All begin uniform, as PyTorch's own.
    """

    states = ("h", "t")
    fixed_initial_states = ("t",)
    hidden_size_multiple = MODULES
    gate_descriptions = {"due": "clock: 1 where it is the unit's turn, 0 holds"}
    retention_expression = "exp(-1 / period)"
    retention_is_constant = True
    period: Tensor  # of each unit

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        share = hidden // MODULES
        self.W = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(
            nn.Linear(hidden - k * share, share, bias=False) for k in range(MODULES)
        )
        period = 2.0 ** torch.arange(MODULES).repeat_interleave(share)
        self.register_buffer("period", period, persistent=False)

    def initial_state(self, batch: int) -> State:
        zeros = self.W.weight.new_zeros
        return zeros(batch, self.hidden_size), zeros(batch, 1)

    def step(self, Wx: Tensor, state: State) -> State:
        h, t = state
        share = self.hidden_size // MODULES
        Uh = cat([U(h[..., k * share :]) for k, U in enumerate(self.blocks)], dim=-1)
        due = remainder(t, self.period) < 1
        h = where(due, tanh(Wx + Uh), h)
        return h, remainder(t + 1, 2 ** (MODULES - 1))

    def retention(self, letters: dict[str, Tensor]) -> Tensor:
        """Of all or nothing, on average: what makes the period the time constant."""
        del letters
        return exp(-1 / self.period)
