"""Rusch et al. (2022), "Long expressive memory for sequence modeling": the LEM."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("lem")
class LEM(Cell):
    """Two coupled states, each with a time step for each unit, which depends on input and output.

    d = sigmoid(W_d x + U_d h + b_d)      time step of h: 1 takes what z gives, 0 retains
    e = sigmoid(W_e x + U_e h + b_e)      time step of z: 1 takes the candidate, 0 retains
    c = tanh(W_c x + U_c h + b_c)         candidate of z
    z' = (1 - e) z + e c
    h' = (1 - d) h + d tanh(W_g x + V z' + b_g)

    h is the paper's y. Both steps are scaled by a constant, which the authors tune; on text it is
    1, as here.

    Parameters: 4H(X + H + 1) for X inputs and H units. b_d and b_e start at -1, so that both states
    retain at first.
    """

    states = ("h", "z")
    gate_descriptions = {
        "d": "time step of h: 1 takes what z gives, 0 retains",
        "e": "time step of z: 1 takes the candidate, 0 retains",
    }
    candidate_name = "c"
    retention_expression = "1 - e"
    forget_gate = "d"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.V = nn.Linear(hidden_size, hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, z)."""
        h, z = state
        d, e, c, g = Wx.chunk(4, dim=-1)
        Ud, Ue, Uc = self.U(h).chunk(3, dim=-1)
        d, e, c = sigmoid(d + Ud), sigmoid(e + Ue), tanh(c + Uc)
        self.record(d=d, e=e, c=c)
        z = (1 - e) * z + e * c
        h = (1 - d) * h + d * tanh(g + self.V(z))
        return h, z

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return 1 - e, the fraction that z retains."""
        return 1 - recorded["e"]

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """Set b_d and b_e to -bias: here 1 - d and 1 - e retain, and d and e write."""
        del write  # each time step has one bias
        d, e, _, _ = self.W.bias.data.chunk(4)
        d.copy_(-bias)
        e.copy_(-bias)

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield the blocks of U, then V."""
        yield from super().recurrent_matrices()
        yield self.V.weight.data
