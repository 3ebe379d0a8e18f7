"""Koutník et al. (2014), "A clockwork RNN"."""

import torch
from torch import Tensor, cat, exp, nn, remainder, tanh, where

from charlm.cells.base import Cell, State, register_cell

NUM_MODULES = 8


@register_cell("clockwork")
class Clockwork(Cell):
    """Recurrent network in modules that are updated at different periods.

    h_k' = tanh(W_k x + sum over j >= k of U_kj h_j + b_k)      if t mod 2^k = 0
    h_k' = h_k                                                  else

    There are 8 modules of H / 8 units, with periods 1, 2, 4, ... 128: module k reads itself and the
    slower ones. Time t is in the state, modulo 128, so that a text can be cut anywhere.

    Parameters: H(X + 1) + 9H*H/16 for X inputs and H units. All start uniform, PyTorch's default:
    what a module reads is not a square matrix, which could be orthogonal.
    """

    states = ("h", "t")
    fixed_initial_states = ("t",)
    hidden_size_multiple = NUM_MODULES
    gate_descriptions = {"due": "clock: 1 updates the unit, 0 retains it"}
    retention_expression = "exp(-1 / period)"
    retention_is_constant = True
    period: Tensor  # of each unit, in steps

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        module_size = hidden_size // NUM_MODULES
        self.W = nn.Linear(input_size, hidden_size)
        self.blocks = nn.ModuleList(
            nn.Linear(hidden_size - k * module_size, module_size, bias=False)
            for k in range(NUM_MODULES)
        )
        period = 2.0 ** torch.arange(NUM_MODULES).repeat_interleave(module_size)
        self.register_buffer("period", period, persistent=False)

    @property
    def flops(self) -> int:
        """FLOPs of one step, the mean over a whole period: a module counts when it is due."""
        module_size = self.hidden_size // NUM_MODULES
        inputs = [self.input_size + self.hidden_size - k * module_size for k in range(NUM_MODULES)]
        return int(sum(2 * module_size * size / 2**k for k, size in enumerate(inputs)))

    @property
    def step_flops(self) -> int:
        """FLOPs of all modules: `step` computes those that are not due too, and discards them."""
        return super().flops

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size) and t (batch, 1)."""
        zeros = self.W.weight.new_zeros
        return zeros(batch_size, self.hidden_size), zeros(batch_size, 1)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, t)."""
        h, t = state
        module_size = self.hidden_size // NUM_MODULES
        Uh = cat([U(h[..., k * module_size :]) for k, U in enumerate(self.blocks)], dim=-1)
        due = remainder(t, self.period) < 1
        self.record(due=due)
        h = where(due, tanh(Wx + Uh), h)
        return h, remainder(t + 1, 2 ** (NUM_MODULES - 1))

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return the mean fraction retained: it makes the period the time constant."""
        del recorded
        return exp(-1 / self.period)
