"""Vaswani et al. (2017), "Attention is all you need": causal, over the last characters alone."""

import torch
from torch import Tensor, cat, cos, einsum, nn, sin
from torch.nn.functional import pad

from charlm.cell import Cell, State, cell

HEADS = 4
SLOWEST = 1e-4  # radians a character


@cell("attention")
class Attention(Cell):
    """q, k, v = W x                          query, key and value of each of 4 heads
    a = softmax(q . turned(k) / sqrt(H/4))  over the keys of this character and the 128 before
    h' = O sum(a v)                         the values, each with its share

    Positions are relative (Su et al. 2021, "RoFormer"): pairs of a key's numbers are turned by
    angles that grow with its distance, 1 to 1e-4 radians a character. So no time is carried, only
    K and V of the 128 characters before, and how many of these there were, t.

    In a residual block it is a Transformer (norm first, gated perceptron); bare it is none: only
    its softmax is not linear. H need be no multiple of 4: unit j is of head j mod 4.

    Parameters: 3HX + H*H for X inputs and H units.
    """

    states = ("h", "K", "V", "t")
    read_out = True
    window = 128

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 3 * hidden, bias=False)
        self.O = nn.Linear(hidden, hidden, bias=False)

    def start(self, batch: int) -> State:
        zeros = self.W.weight.new_zeros
        K, V = (zeros(batch, self.window, self.hidden) for _ in "KV")
        return zeros(batch, self.hidden), K, V, zeros(batch, 1)

    def heads(self, x: Tensor) -> Tensor:
        """(batch, time, hidden) -> (batch, heads, time, share); the share is even, zeros fill up."""
        filled = pad(x, (0, -self.hidden % (2 * HEADS)))
        return filled.unflatten(-1, (-1, HEADS)).movedim(-1, 1)

    def read(self, heads: Tensor) -> Tensor:
        """What the heads found (batch, heads, time, share) -> h (batch, time, hidden)."""
        h: Tensor = self.O(heads.movedim(1, -1).flatten(-2)[..., : self.hidden])
        return h

    def step(self, Wx: Tensor, state: State) -> State:
        _, K, V, t = state
        q, k, v = Wx[:, None].chunk(3, dim=-1)
        K, V = cat((K, k), dim=1), cat((V, v), dim=1)
        distances = torch.arange(self.window, -1, -1, device=t.device)
        match = einsum("bhtd,bhsd->bhts", self.heads(q), turned(self.heads(K), -distances))
        match = match.masked_fill((distances > t)[:, None, None], -torch.inf)
        a = (match / (self.hidden / HEADS) ** 0.5).softmax(-1)
        h = self.read(einsum("bhts,bhsd->bhtd", a, self.heads(V)))[:, 0]
        return h, K[:, 1:], V[:, 1:], (t + 1).clamp(max=self.window)


def turned(x: Tensor, places: Tensor) -> Tensor:
    """Queries or keys (..., time, share), each turned by its place (time,): a query meets a key as
    if only their distance had turned it."""
    pairs = x.shape[-1] // 2
    paces = SLOWEST ** (torch.arange(pairs, dtype=x.dtype, device=x.device) / pairs)
    angles = places[:, None] * paces
    a, b = x.chunk(2, dim=-1)
    return cat((a * cos(angles) - b * sin(angles), a * sin(angles) + b * cos(angles)), dim=-1)
