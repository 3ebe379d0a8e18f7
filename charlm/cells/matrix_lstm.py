"""Beck et al. (2024), "xLSTM: extended long short-term memory": mLSTM, the matrix memory."""

import torch
from torch import Tensor, einsum, exp, maximum, nn, sigmoid
from torch.nn.functional import logsigmoid

from charlm.cells.base import Cell, State, register_cell
from charlm.cells.matrix_memory import decay, read, write


@register_cell("matrix-lstm")
class MatrixLSTM(Cell):
    """LSTM whose memory is a matrix for each head, read by a query.

    q, k, v = W x + b, k / sqrt(H / N)      query, key and value of each of N heads
    i = exp(W_i x + b_i)                    input gate of a head, exponential
    f = sigmoid(W_f x + b_f)                forget gate of a head: 1 retains, 0 forgets
    o = sigmoid(W_o x + b_o)                output gate of a unit
    C' = f C + i k v^T                      matrix memory
    n' = f n + i k                          normalizer
    h' = o (C'^T q) / max(|n' q|, 1)

    C and n are carried divided by exp(m), m' = max(log f + m, log i, 0), so that no exponential
    overflows, nor exp(-m'), which the 1 becomes. Only C, n and m come from the past.

    The published layer has a convolution before q and k and a norm after h, which are left out. Its
    gates read q, k and v instead of x.

    Parameters: 4H(X + 1) + 2N(X + 1) for X inputs, H units and N heads. As in the authors' code W_f
    and W_i start at 0, b_f from 3 to 6 over the heads, so that they retain 0.953 to 0.998 of the
    memory in a step, and b_i normal with a standard deviation of 0.1.
    """

    states = ("h", "C", "n", "m")
    options = ("num_heads",)
    output_is_readout = True
    gate_descriptions = {"i": "input gate of the head, divided by exp(m')", "o": "output gate"}
    candidate_name = "v"
    retention_expression = "f"

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.head_size = hidden_size // num_heads
        self.W = nn.Linear(input_size, 4 * hidden_size + 2 * num_heads)
        i, f = self.W.bias.data[4 * hidden_size :].chunk(2)
        nn.init.zeros_(self.W.weight.data[4 * hidden_size :])
        nn.init.normal_(i, std=0.1)
        f.copy_(torch.linspace(3, 6, num_heads))

    @property
    def flops(self) -> int:
        """FLOPs of one step, with C'^T q and n' q."""
        return super().flops + 2 * self.hidden_size * (self.head_size + 1)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size), C, n and m (batch, heads, ...)."""
        zeros, heads = self.W.weight.new_zeros, (batch_size, self.num_heads)
        C = zeros(*heads, self.head_size, self.head_size)
        n = zeros(*heads, self.head_size)
        return zeros(batch_size, self.hidden_size), C, n, zeros(*heads)

    def vectors(self, Wx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, each (..., heads, head_size), from Wx (..., any)."""
        qkv = Wx[..., : 3 * self.hidden_size].unflatten(-1, (3, self.num_heads, self.head_size))
        q, k, v = qkv.unbind(-3)
        return q, k / self.head_size**0.5, v

    def exponents(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        """Return log i and log f, each (..., heads)."""
        i, f = Wx[..., 4 * self.hidden_size :].chunk(2, dim=-1)
        return i, logsigmoid(f)

    def read_out(self, Wx: Tensor, Cq: Tensor, nq: Tensor, m: Tensor) -> Tensor:
        """Return h (..., hidden_size) from C^T q (..., heads, size), n q and m (..., heads)."""
        o = sigmoid(Wx[..., 3 * self.hidden_size : 4 * self.hidden_size])
        self.record(o=o)
        return o * (Cq / maximum(nq.abs(), exp(-m))[..., None]).flatten(-2)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, C, n, m)."""
        _, C, n, m = state
        q, k, v = self.vectors(Wx)
        log_i, log_f = self.exponents(Wx)
        log_retained = log_f + m
        m = maximum(log_retained, log_i).clamp(min=0)
        i, f = exp(log_i - m)[..., None], exp(log_retained - m)[..., None]
        self.record(i=i, v=v, log_f=log_f)
        C = write(decay(C, f), i * k, v)
        n = f * n + i * k
        nq = einsum("bhk,bhk->bh", n, q)
        return self.read_out(Wx, read(C, q), nq, m), C, n, m

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return f of each head (..., heads): C as if it were not divided by exp(m)."""
        return exp(recorded["log_f"])
