"""Base class of cells that write their matrix memory with the delta rule."""

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, exp, nn, sigmoid
from torch.nn.functional import normalize, rms_norm, silu

from charlm.cells.base import Cell, State
from charlm.cells.matrix_memory import decay, read, write

NORM_EPSILON = 1e-5


class Write(NamedTuple):
    """Key, value and strength of a delta rule, for each token."""

    k: Tensor  # unit keys (..., heads, head_size)
    v: Tensor  # values (..., heads, head_size)
    b: Tensor  # strengths (..., heads)


class DeltaCell(Cell):
    """Base class of cells whose memory S of each head is corrected towards v at the key k.

    S = a S                                 decay, once in a step
    S = S + b k (v - S^T k)^T               delta rule, `num_writes` times in a step
    h = RMSnorm(S^T q)                      of each head

    The transition is a (I - b k k^T): its eigenvalue along the unit vector k is a (1 - b), the
    others are a. With eigenvalues="signed" b is in (0, 2) instead of (0, 1), so that a memory can
    change its sign.

    W x is [q | k | v | b | k | v | b ...], one k, v and b for each write. A subclass may append to
    it what its own `log_decay` and `gate_output` read.

    Attributes:
        num_writes: Number of delta rules in a step.
    """

    options: ClassVar[tuple[str, ...]] = ("num_heads", "eigenvalues")
    states = ("h", "S")
    output_is_readout = True
    gate_descriptions = {"b": "strength of the writes, 1 at its maximum"}
    candidate_name = "v"
    retention_expression = "a (1 - b / head_size)"  # of several writes, a product

    num_writes: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 4,
        eigenvalues: Literal["positive", "signed"] = "positive",
    ) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.head_size = hidden_size // num_heads
        self.eigenvalues = eigenvalues
        self.max_strength = 2.0 if eigenvalues == "signed" else 1.0
        self.sizes = hidden_size, *self.num_writes * (hidden_size, hidden_size, num_heads)
        self.W = nn.Linear(input_size, sum(self.sizes), bias=False)
        self.norm = nn.Parameter(torch.ones(self.head_size))

    @property
    def flops(self) -> int:
        """FLOPs of one step, with the memory read at each key and at the query."""
        return super().flops + 2 * (self.num_writes + 1) * self.hidden_size * self.head_size

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size) and S (batch, heads, head_size, head_size)."""
        zeros = self.W.weight.new_zeros
        S = zeros(batch_size, self.num_heads, self.head_size, self.head_size)
        return zeros(batch_size, self.hidden_size), S

    def query(self, Wx: Tensor) -> Tensor:
        """Return q, of unit length, (..., heads, head_size), from Wx (..., any)."""
        return normalize(silu(self.per_head(Wx[..., : self.hidden_size])), dim=-1)

    def writes(self, Wx: Tensor) -> list[Write]:
        """Return the writes of each token, from Wx (..., any)."""
        _, *parts = Wx[..., : sum(self.sizes)].split(self.sizes, dim=-1)
        k = [normalize(silu(self.per_head(part)), dim=-1) for part in parts[0::3]]
        v = [silu(self.per_head(part)) for part in parts[1::3]]
        b = [sigmoid(part) for part in parts[2::3]]
        # the mean of the writes
        self.record(b=sum(b[1:], b[0]) / self.num_writes, v=sum(v[1:], v[0]) / self.num_writes)
        return [Write(k, v, self.max_strength * b) for k, v, b in zip(k, v, b, strict=True)]

    def per_head(self, x: Tensor) -> Tensor:
        """Return x (..., hidden_size) as (..., heads, head_size)."""
        heads: Tensor = x.unflatten(-1, (self.num_heads, self.head_size))
        return heads

    def log_decay(self, Wx: Tensor) -> Tensor | None:
        """Return log a (..., heads) from Wx (..., any); None: a is 1."""
        del Wx
        return None

    def gate_output(self, Wx: Tensor, h: Tensor) -> Tensor:
        """Return the output (..., hidden_size) from the norm's (..., hidden_size)."""
        del Wx
        return h

    def read_out(self, Wx: Tensor, Sq: Tensor) -> Tensor:
        """Return the output (..., hidden_size) from S^T q (..., heads, head_size)."""
        h = rms_norm(Sq, (self.head_size,), self.norm, NORM_EPSILON)
        return self.gate_output(Wx, h.flatten(-2))

    def retention(self, recorded: dict[str, Tensor]) -> Tensor:
        """Return the mean eigenvalue of the transition of each head (..., heads).

        Only the direction of k loses anything: the head retains 1 - b / head_size on average. Of
        several writes the mean strength counts.
        """
        b = self.max_strength * recorded["b"]
        retained: Tensor = (1 - b / self.head_size) ** self.num_writes
        return retained * recorded["a"] if "a" in recorded else retained

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, S)."""
        _, S = state
        log_a = self.log_decay(Wx)
        if log_a is not None:
            S = decay(S, exp(log_a))
        for k, v, b in self.writes(Wx):
            S = write(S, k, b[..., None] * (v - read(S, k)))
        return self.read_out(Wx, read(S, self.query(Wx))), S
