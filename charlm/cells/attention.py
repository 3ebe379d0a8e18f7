"""Vaswani et al. (2017), "Attention is all you need": causal, over a window of the last tokens."""

import torch
from torch import Tensor, cat, einsum, nn, where
from torch.nn.functional import pad

from charlm.cells.base import Cell, State, register_cell

NUM_HEADS = 4


@register_cell("attention")
class Attention(Cell):
    """Causal attention over this token and the 128 before it.

    q, k, v = W x                             query, key and value of each of 4 heads
    a = softmax(q K / sqrt(H/4) - slope d)    over the window
    h' = O sum(a V)

    d is the distance of a key, and the heads' slopes are 1, 1/4, 1/16 and 1/64 (Press et al. 2022,
    "Train short, test long", start at 1/4). So no position is carried, only k and v of the last 128
    tokens, and their number t. Unit j belongs to head j mod 4, so that H may be any number.

    In a residual block it is a Transformer (norm first, gated MLP). With `--block none` it is not:
    there is no skip connection, and only the softmax is nonlinear.

    Parameters: 3HX + H*H for X inputs and H units.
    """

    states = ("h", "K", "V", "t")
    fixed_initial_states = ("K", "V", "t")  # at first the window is empty
    output_is_readout = True
    window = 128

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 3 * hidden_size, bias=False)
        self.O = nn.Linear(hidden_size, hidden_size, bias=False)

    @property
    def flops(self) -> int:
        """FLOPs of one step, with q K and the sum over V; heads are padded to one width."""
        padded = self.hidden_size + -self.hidden_size % NUM_HEADS
        return super().flops + 2 * 2 * padded * (self.window + 1)

    def initial_state(self, batch_size: int) -> State:
        """Return h of zeros, an empty window K and V, and t = 0."""
        zeros = self.W.weight.new_zeros
        K, V = (zeros(batch_size, self.window, self.hidden_size) for _ in "KV")
        return zeros(batch_size, self.hidden_size), K, V, zeros(batch_size, 1)

    def extend_window(self, Wx: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor, State]:
        """Append tokens to the window.

        Args:
            Wx: Projected inputs (time, batch, any).
            state: The state before the first of them.

        Returns:
            q of these tokens (batch, time, hidden_size); K and V of the window and these tokens
            (batch, window + time, hidden_size); and the states K, V and t after them.
        """
        _, K, V, t = state
        q, k, v = Wx.transpose(0, 1).chunk(3, dim=-1)
        K, V = cat((K, k), dim=1), cat((V, v), dim=1)
        last = slice(-self.window, None)
        return q, K, V, (K[:, last], V[:, last], (t + len(Wx)).clamp(max=self.window))

    def split_heads(self, x: Tensor) -> Tensor:
        """Return (batch, heads, time, head_size), zero-padded, of (batch, time, hidden_size)."""
        padded = pad(x, (0, -self.hidden_size % NUM_HEADS))
        return padded.unflatten(-1, (-1, NUM_HEADS)).movedim(-1, 1).contiguous()

    def merge_heads(self, attended: Tensor) -> Tensor:
        """Return h (time, batch, hidden_size) of (batch, heads, time, head_size)."""
        h: Tensor = self.O(attended.permute(2, 0, 3, 1).flatten(2)[..., : self.hidden_size])
        return h

    def position_bias(self, time: int, t: Tensor) -> Tensor:
        """Return what is added to q K (batch, heads, time, window + time).

        It is -inf for keys that do not exist, are out of the window, or are still to come.
        """
        positions = torch.arange(-self.window, time, dtype=t.dtype, device=t.device)
        d = positions[self.window :, None] - positions
        visible = (d >= 0) & (d <= self.window) & (positions >= -t)[:, None]
        slopes = 4.0 ** -torch.arange(NUM_HEADS, dtype=t.dtype, device=t.device)
        return where(visible[:, None], -slopes[:, None, None] * d, -torch.inf)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, K, V, t)."""
        q, K, V, window = self.extend_window(Wx[None], state)
        scores = einsum("bhtk,bhsk->bhts", self.split_heads(q), self.split_heads(K))
        scores = scores / (self.hidden_size / NUM_HEADS) ** 0.5
        a = (scores + self.position_bias(1, state[-1])).softmax(-1)
        h = self.merge_heads(einsum("bhts,bhsv->bhtv", a, self.split_heads(V)))
        return h[0], *window
