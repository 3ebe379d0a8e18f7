"""Yao et al. (2015), "Depth-gated LSTM", here without peepholes to the other gates."""

from typing import Self

import torch
from torch import Tensor, cat, nn, sigmoid, tanh

from charlm.cells.base import Cell, State, register_cell
from charlm.cells.lstm_variant import LSTMVariant


@register_cell("depth-gated-lstm")
class DepthGatedLSTM(LSTMVariant):
    """The lowest layer: an LSTM whose output is [h|c], so that the layer above can read both.

    i, f, o = sigmoid(W x + U h + b)      input, forget (1 retains, 0 forgets) and output gate
    g = tanh(W_g x + U_g h + b_g)         candidate
    c' = f c + i g                        cell state
    h' = o tanh(c')

    Parameters: 4H(X + H + 1) for X inputs and H units. b_f starts at 1, so that the cell remembers
    at first.
    """

    states = ("hc",)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 4 * hidden_size)
        self.U = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.init_retention_bias(torch.ones(hidden_size))

    @property
    def output_size(self) -> int:
        """Width of [h|c]."""
        return 2 * self.hidden_size

    @classmethod
    def make_upper_layer(cls, below: Self) -> Cell:
        """Return a layer with a depth gate, which reads [h|c] of `below`."""
        return Upper(below.output_size, below.hidden_size)

    def initial_state(self, batch_size: int) -> State:
        """Return [h|c] of zeros."""
        return (self.U.weight.new_zeros(batch_size, self.output_size),)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return ([h|c],)."""
        h, c = state[0].chunk(2, dim=-1)
        i, f, g, o = (Wx + self.U(h)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        self.record(i=i, f=f, g=g, o=o)
        c = f * c + i * g
        h = o * tanh(c)
        return (cat((h, c), dim=-1),)

    def unit_states(self, state: State) -> dict[str, Tensor]:
        """Return h and c, each (batch, hidden_size)."""
        h, c = state[0].chunk(2, dim=-1)
        return {"h": h, "c": c}


class Upper(DepthGatedLSTM):
    """Any layer above: x is the output h of the layer below, e its cell state.

    d = sigmoid(W_d x + w_c c + w_e e + b_d)      depth gate
    c' = d e + f c + i g                          and the rest as in the lowest layer

    Parameters: 4H(X + H + 1) + HX + 3H for X inputs and H units, where X is H: e is as wide
    again and has no matrix. b_d, w_c and w_e start at 0, so that at first half of e passes.
    """

    gate_descriptions = {
        **LSTMVariant.gate_descriptions,
        "d": "depth gate: 1 lets the cell state below in",
    }

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(hidden_size, 5 * hidden_size)
        self.w_c = nn.Parameter(torch.zeros(hidden_size))
        self.w_e = nn.Parameter(torch.zeros(hidden_size))
        nn.init.zeros_(self.W.bias.data[4 * hidden_size :])
        self.init_retention_bias(torch.ones(hidden_size))

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [W x + b of i, f, g, o | W_d x + w_e e + b_d | e]."""
        x, e = x.chunk(2, dim=-1)
        gates, d = self.W(x).split([4 * self.hidden_size, self.hidden_size], dim=-1)
        return cat((gates, d + self.w_e * e, e), dim=-1)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return ([h|c],)."""
        h, c = state[0].chunk(2, dim=-1)
        gates, d, e = Wx.split([4 * self.hidden_size, self.hidden_size, self.hidden_size], dim=-1)
        i, f, g, o = (gates + self.U(h)).chunk(4, dim=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        d = sigmoid(d + self.w_c * c)
        self.record(i=i, f=f, g=g, o=o, d=d)
        c = d * e + f * c + i * g
        h = o * tanh(c)
        return (cat((h, c), dim=-1),)
