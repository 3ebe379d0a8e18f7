"""Zilly et al. (2017), "Recurrent highway networks": a transition of ten levels."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import softplus

from charlm.cells.base import Cell, State, register_cell

DEPTH = 10  # the published depth for characters (enwik8 and text8)


@register_cell("highway-rnn")
class HighwayRNN(Cell):
    """RNN whose state passes ten highway layers in each step; the first reads the input too.

    s_0 = h
    t_l = sigmoid([W_t x] + R_t,l s_(l-1) + b_t,l)      transform gate of level l, from 1 to 10
    g_l = tanh([W_g x] + R_g,l s_(l-1) + b_g,l)         candidate; [...] only at level 1
    s_l = (1 - t_l) s_(l-1) + t_l g_l
    h' = s_10

    The carry gate is coupled to the transform gate, as in the published models. The dropout within
    a step is left out.

    Parameters: 2HX + 20H*H + 20H for X inputs and H units. Each b_t,l starts at -3.45, so that at
    first the unit retains sigmoid(1) over the ten levels; on characters the authors begin at -4.
    """

    gate_descriptions = {"k": "carry over all levels, the product of 1 - t_l: 1 retains"}
    candidate_name = "g"
    retention_expression = "k"
    forget_gate = "k"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.R = nn.ModuleList(nn.Linear(hidden_size, 2 * hidden_size) for _ in range(DEPTH))
        self.init_retention_bias(torch.ones(hidden_size))

    @property
    def levels(self) -> list[nn.Linear]:
        """The layers of a step: [R_t,l|R_g,l] and [b_t,l|b_g,l] for each level l."""
        return [level for level in self.R if isinstance(level, nn.Linear)]

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h,)."""
        (s,) = state
        first, *upper = self.levels
        t, g = (Wx + first(s)).chunk(2, dim=-1)
        t, g = sigmoid(t), tanh(g)
        k, s = 1 - t, (1 - t) * s + t * g
        for level in upper:
            t, g = level(s).chunk(2, dim=-1)
            t, g = sigmoid(t), tanh(g)
            k, s = k * (1 - t), (1 - t) * s + t * g
        self.record(k=k, g=g)
        return (s,)

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Set all b_t,l to the value with which ten levels retain sigmoid(bias)."""
        del write  # t has one bias
        level_bias = torch.log(torch.expm1(softplus(-bias) / DEPTH))
        for level in self.levels:
            t, _ = level.bias.data.chunk(2)
            t.copy_(level_bias)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield R_t,l and R_g,l of each level."""
        for level in self.levels:
            yield from level.weight.data.split(self.hidden_size)
