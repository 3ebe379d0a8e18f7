"""Yao et al. (2015), "Depth-gated LSTM", here without peepholes to the other gates."""

from typing import Self

import torch
from torch import Tensor, cat, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell


@register_cell("depth-gated-lstm")
class DepthGatedLSTM(Cell):
    """The lowest layer is an LSTM that hands on [h|c], so that the layer above can read both.

    i, f, o = sigmoid(W x + U h + b)      input, forget (1 keeps, 0 forgets) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) for X inputs and H units. b_f begins at 1, so that the cell remembers
    at first.
    """

    states = ("hc",)
    gate_descriptions = {
        "i": "input gate",
        "f": "forget gate: 1 keeps, 0 forgets",
        "o": "output gate",
    }
    candidate_name = "g"
    retention_expression = "f"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 4 * hidden)
        self.U = nn.Linear(hidden, 4 * hidden, bias=False)
        self.init_retention_bias(torch.ones(hidden))

    @property
    def output_size(self) -> int:
        return 2 * self.hidden_size

    @classmethod
    def make_upper_layer(cls, below: Self) -> Cell:
        return Upper(below.output_size, below.hidden_size)

    def initial_state(self, batch: int) -> State:
        return (self.U.weight.new_zeros(batch, self.output_size),)

    def step(self, Wx: Tensor, state: State) -> State:
        h, c = state[0].chunk(2, dim=-1)
        i, f, g, o = (Wx + self.U(h)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * tanh(c)
        return (cat((h, c), dim=-1),)

    def unit_states(self, state: State) -> dict[str, Tensor]:
        h, c = state[0].chunk(2, dim=-1)
        return {"h": h, "c": c}

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        i, f, _, _ = self.W.bias.data[: 4 * self.hidden_size].chunk(4)
        f.copy_(bias)
        if write is not None:
            i.copy_(write)


class Upper(DepthGatedLSTM):
    """Any layer above it: x is h of the layer below, e its cell state.

    d = sigmoid(W_d x + w_c c + w_e e + b_d)      depth gate
    c' = d e + f c + i g                          and the rest as in the lowest layer

    Parameters: 4H(X + H + 1) + HX + 3H for X inputs and H units, where X is H: e is as wide
    again and has no matrix. b_d, w_c and w_e begin at 0, so that half of e comes up at first.
    """

    gate_descriptions = {**DepthGatedLSTM.gate_descriptions, "d": "depth gate: 1 lets the cell state below in"}

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(hidden, 5 * hidden)
        self.w_c = nn.Parameter(torch.zeros(hidden))
        self.w_e = nn.Parameter(torch.zeros(hidden))
        nn.init.zeros_(self.W.bias.data[4 * hidden :])
        self.init_retention_bias(torch.ones(hidden))

    def project_inputs(self, x: Tensor) -> Tensor:
        x, e = x.chunk(2, dim=-1)
        gates, d = self.W(x).split([4 * self.hidden_size, self.hidden_size], dim=-1)
        return cat((gates, d + self.w_e * e, e), dim=-1)

    def step(self, Wx: Tensor, state: State) -> State:
        h, c = state[0].chunk(2, dim=-1)
        gates, d, e = Wx.split([4 * self.hidden_size, self.hidden_size, self.hidden_size], dim=-1)
        i, f, g, o = (gates + self.U(h)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        d = sigmoid(d + self.w_c * c)
        c = d * e + f * c + i * g
        h = o * tanh(c)
        return (cat((h, c), dim=-1),)
