"""Vaswani et al. (2017), "Attention is all you need": causal, over the last characters alone."""

import torch
from torch import Tensor, cat, einsum, nn, where
from torch.nn.functional import pad

from charlm.cells.base import Cell, State, register_cell

HEADS = 4


@register_cell("attention")
class Attention(Cell):
    """q, k, v = W x                             query, key and value of each of 4 heads
    a = softmax(q K / sqrt(H/4) - slope d)    over this character and the 128 before it
    h' = O sum(a V)

    d is how far back a key is, and the heads' slopes are 1, 1/4, 1/16 and 1/64 (Press et al. 2022,
    "Train short, test long", begin at 1/4). So no position is carried, only k and v of the last 128
    characters, and how many there were, t. Unit j is of head j mod 4: H may be any number.

    In a residual block it is a Transformer (norm first, gated perceptron). Bare it is none: without
    a skip past it, and nothing but the shares that is not linear.

    Parameters: 3HX + H*H for X inputs and H units.
    """

    states = ("h", "K", "V", "t")
    fixed_initial_states = ("K", "V", "t")  # the window is empty at first
    output_is_readout = True
    window = 128

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden, bias=False)
        self.O = nn.Linear(hidden, hidden, bias=False)

    @property
    def flops(self) -> int:
        """With the match of q with each key, and the sum over each value; heads are filled up."""
        filled = self.hidden_size + -self.hidden_size % HEADS
        return super().flops + 2 * 2 * filled * (self.window + 1)

    def initial_state(self, batch: int) -> State:
        zeros = self.W.weight.new_zeros
        K, V = (zeros(batch, self.window, self.hidden_size) for _ in "KV")
        return zeros(batch, self.hidden_size), K, V, zeros(batch, 1)

    def after(self, Wx: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor, State]:
        """(time, batch, any) and the state before -> q, K and V of all these characters, the last
        two behind the window, each (batch, any, hidden); and the new window with its t."""
        _, K, V, t = state
        q, k, v = Wx.transpose(0, 1).chunk(3, dim=-1)
        K, V = cat((K, k), dim=1), cat((V, v), dim=1)
        last = slice(-self.window, None)
        return q, K, V, (K[:, last], V[:, last], (t + len(Wx)).clamp(max=self.window))

    def heads(self, x: Tensor) -> Tensor:
        """(batch, any, hidden) -> (batch, heads, any, share), filled up with zeros."""
        filled = pad(x, (0, -self.hidden_size % HEADS))
        return filled.unflatten(-1, (-1, HEADS)).movedim(-1, 1).contiguous()

    def read(self, found: Tensor) -> Tensor:
        """What the heads found (batch, heads, time, share) -> h (time, batch, hidden)."""
        h: Tensor = self.O(found.permute(2, 0, 3, 1).flatten(2)[..., : self.hidden_size])
        return h

    def nearness(self, time: int, t: Tensor) -> Tensor:
        """What is added to the match of each query with each key, (batch, heads, time, window +
        time): -inf where there is none, or where it is too far back or still to come."""
        places = torch.arange(-self.window, time, dtype=t.dtype, device=t.device)
        d = places[self.window :, None] - places
        seen = (d >= 0) & (d <= self.window) & (places >= -t)[:, None]
        slopes = 4.0 ** -torch.arange(HEADS, dtype=t.dtype, device=t.device)
        return where(seen[:, None], -slopes[:, None, None] * d, -torch.inf)

    def step(self, Wx: Tensor, state: State) -> State:
        q, K, V, after = self.after(Wx[None], state)
        match = einsum("bhtk,bhsk->bhts", self.heads(q), self.heads(K))
        match = match / (self.hidden_size / HEADS) ** 0.5
        a = (match + self.nearness(1, state[-1])).softmax(-1)
        h = self.read(einsum("bhts,bhsv->bhtv", a, self.heads(V)))
        return h[0], *after
