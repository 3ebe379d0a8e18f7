"""Beck et al. (2024), "xLSTM: extended long short-term memory": mLSTM, the matrix memory."""

import torch
from torch import Tensor, einsum, exp, maximum, nn, sigmoid
from torch.nn.functional import logsigmoid

from charlm.cells.base import Cell, State, register_cell

HEADS = 4


@register_cell("matrix-lstm")
class MatrixLSTM(Cell):
    """q, k, v = W x + b, k / sqrt(H / 4)      query, key and value of each of 4 heads
    i = exp(W_i x + b_i)                    input gate of a head, exponential
    f = sigmoid(W_f x + b_f)                forget gate of a head: 1 keeps, 0 forgets
    o = sigmoid(W_o x + b_o)                output gate of a unit
    C' = f C + i v k^T                      matrix memory
    n' = f n + i k                          normaliser
    h' = o (C' q) / max(|n' q|, 1)

    C and n are carried divided by exp(m), m' = max(log f + m, log i, 0), so that no exponential
    overflows, the exp(-m') that the 1 becomes neither. Only C, n and m come from the past.

    Parameters: 4H(X + 1) + 8(X + 1) for X inputs and H units. b_f begins at 1, so that the memory
    keeps at first.
    """

    states = ("h", "C", "n", "m")
    hidden_size_multiple = HEADS
    output_is_readout = True
    gate_descriptions = {"i": "input gate of the head, divided by exp(m')", "o": "output gate"}
    candidate_name = "v"
    retention_expression = "f"

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.share = hidden // HEADS
        self.W = nn.Linear(inputs, 4 * hidden + 2 * HEADS)
        self.init_retention_bias(torch.ones(hidden))

    @property
    def flops(self) -> int:
        """With C' q and n' q."""
        return super().flops + 2 * self.hidden_size * (self.share + 1)

    def initial_state(self, batch: int) -> State:
        zeros = self.W.weight.new_zeros
        C, n = zeros(batch, HEADS, self.share, self.share), zeros(batch, HEADS, self.share)
        return zeros(batch, self.hidden_size), C, n, zeros(batch, HEADS)

    def vectors(self, Wx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v, each (..., heads, hidden / heads), of one character or of all of them."""
        q, k, v = Wx[..., : 3 * self.hidden_size].unflatten(-1, (3, HEADS, self.share)).unbind(-3)
        return q, k / self.share**0.5, v

    def exponents(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """log i and log f, each (..., heads)."""
        i, f = Wx[..., 4 * self.hidden_size :].chunk(2, dim=-1)
        return i, logsigmoid(f)

    def read(self, Wx: Tensor, Cq: Tensor, nq: Tensor, m: Tensor) -> Tensor:
        """h (..., hidden) of C q (..., heads, hidden / heads), n q and m (..., heads)."""
        o = sigmoid(Wx[..., 3 * self.hidden_size : 4 * self.hidden_size])
        return o * (Cq / maximum(nq.abs(), exp(-m))[..., None]).flatten(-2)

    def step(self, Wx: Tensor, state: State) -> State:
        _, C, n, m = state
        q, k, v = self.vectors(Wx)
        log_i, log_f = self.exponents(Wx)
        held = log_f + m
        m = maximum(held, log_i).clamp(min=0)
        i, f = exp(log_i - m)[..., None], exp(held - m)[..., None]
        C = f[..., None] * C + einsum("bhv,bhk->bhvk", i * v, k)
        n = f * n + i * k
        Cq, nq = einsum("bhvk,bhk->bhv", C, q), einsum("bhk,bhk->bh", n, q)
        return self.read(Wx, Cq, nq, m), C, n, m

    def retention(self, letters: dict[str, Tensor]) -> Tensor:
        """Of C, by each head, as if it were not divided by exp(m)."""
        return exp(letters["log_f"])

    def init_retention_bias(self, bias: Tensor, write: Tensor | None = None) -> None:
        """A head's gate takes the bias of the head's first unit."""
        i, f = self.W.bias.data[4 * self.hidden_size :].chunk(2)
        f.copy_(bias[:: self.share])
        if write is not None:
            i.copy_(write[:: self.share])
