"""Yang et al. (2024), "Gated linear attention transformers with hardware-efficient training".

Four cells differ in their decay: RetNet, Mamba-2, GLA and HGRN2.
"""

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, cat, exp, nn, sigmoid
from torch.nn.functional import logsigmoid, rms_norm, silu, softplus

from charlm.cells.base import Cell, State, register_cell
from charlm.cells.matrix_memory import decay, read, write

STATE_SIZE = 16  # keys of Mamba-2, which all heads share
RANK = 16  # of the decay of GLA
EPSILON = 1e-5  # of the norms


class Token(NamedTuple):
    """Query, key, value and decay of a token, each (..., heads, size)."""

    q: Tensor
    k: Tensor
    v: Tensor
    log_a: Tensor  # logarithm of the decay: of each key, or (..., heads, 1) of the head


class GatedLinearAttention(Cell):
    """Base class of linear attention whose matrix memory decays.

    S' = a S + k v^T                    memory of a head; a per head, or per key and row of S
    h' = output of S'^T q
    """

    states = ("h", "S")
    options: ClassVar[tuple[str, ...]] = ("num_heads",)
    output_is_readout = True
    gate_descriptions: ClassVar[dict[str, str]] = {}
    candidate_name = "v"
    retention_expression = "a"

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.head_size = self.key_size = hidden_size // num_heads

    @property
    def flops(self) -> int:
        """FLOPs of one step, with S'^T q."""
        return super().flops + 2 * self.hidden_size * self.key_size

    def initial_state(self, batch_size: int) -> State:
        """Return zeros: h (batch, hidden_size) and S (batch, heads, key_size, head_size)."""
        zeros = next(self.parameters()).new_zeros
        S = zeros(batch_size, self.num_heads, self.key_size, self.head_size)
        return zeros(batch_size, self.hidden_size), S

    def token(self, Wx: Tensor) -> Token:
        """Return q, k, v and log a from Wx (..., any)."""
        raise NotImplementedError

    def read_out(self, Wx: Tensor, token: Token, o: Tensor) -> Tensor:
        """Return h (..., hidden_size) from o = S^T q (..., heads, head_size)."""
        raise NotImplementedError

    def heads(self, x: Tensor) -> Tensor:
        """Return x (..., units) as (..., heads, size)."""
        return x.unflatten(-1, (self.num_heads, -1))

    def step(self, Wx: Tensor, state: State) -> State:
        """Return (h, S)."""
        token = self.token(Wx)
        q, k, v, log_a = token
        a = exp(log_a)
        self.record(a=a.flatten(-2), v=v.flatten(-2))
        S = write(decay(state[1], a), k, v)
        return self.read_out(Wx, token, read(S, q)), S


@register_cell("retnet")
class RetNet(GatedLinearAttention):
    """Linear attention with a fixed decay per head: the retention.

    Source: Sun et al. (2023), "Retentive network": a fixed decay per head.

    q, k, v, g = W x                    k / sqrt(H / N)
    a = 1 - 2^(-5 - j)                  of head j, from 0
    S' = a S + k v^T
    h' = norm(S'^T q) silu(g)           norm of each head, by the root mean square

    The rotation of q and k by their position and the projection of h are left out.

    Parameters: 4HX for X inputs, H units and N heads.
    """

    retention_is_constant = True

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.W = nn.Linear(input_size, 4 * hidden_size, bias=False)

    def token(self, Wx: Tensor) -> Token:
        """Return q, k, v and log a."""
        q, k, v, _ = (self.heads(part) for part in Wx.chunk(4, dim=-1))
        logarithms = [math.log1p(-(2.0 ** -(5 + head))) for head in range(self.num_heads)]
        log_a = Wx.new_tensor(logarithms)[:, None].expand_as(v[..., :1])
        return Token(q, k / self.head_size**0.5, v, log_a)

    def read_out(self, Wx: Tensor, token: Token, o: Tensor) -> Tensor:  # noqa: ARG002
        """Return norm(o) silu(g)."""
        g = Wx.chunk(4, dim=-1)[3]
        return rms_norm(o, (self.head_size,), eps=EPSILON).flatten(-2) * silu(g)


@register_cell("mamba2")
class Mamba2(GatedLinearAttention):
    """Linear attention with a decay per head that depends on x: state space duality.

    Source: Dao & Gu (2024), "Transformers are SSMs": Mamba-2.

    v, B, C, z, d = W x                 16 numbers B and C, which all heads share
    v, B, C = silu(v), silu(B), silu(C)
    d = softplus(d + b_d)               time step of a head
    S' = exp(-d exp(A_log)) S + d B v^T
    h' = norm((S'^T C + D v) silu(z))   by the root mean square of all units, with weights

    The convolution before v, B and C and the projection of h are left out.

    Parameters: 2HX + 32X + NX + H + 3N for X inputs, H units and N heads. As in the authors' code
    exp(A_log) starts uniform from 1 to 16, D at 1, and b_d so that d is from 0.001 to 0.1, uniform
    in its logarithm.
    """

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.key_size = STATE_SIZE
        self.sizes = hidden_size, STATE_SIZE, STATE_SIZE, hidden_size, num_heads
        self.W = nn.Linear(input_size, sum(self.sizes), bias=False)
        d = torch.empty(num_heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.b_d = nn.Parameter(d.expm1().log())  # the inverse of softplus
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(num_heads))
        self.norm = nn.Parameter(torch.ones(hidden_size))

    def token(self, Wx: Tensor) -> Token:
        """Return C, d B, v and log a."""
        v, B, C, _, d = Wx.split(self.sizes, dim=-1)
        d = softplus(d + self.b_d)
        k = d[..., None] * silu(B)[..., None, :]
        log_a = (-d * exp(self.A_log))[..., None]
        return Token(silu(C)[..., None, :].expand_as(k), k, self.heads(silu(v)), log_a)

    def read_out(self, Wx: Tensor, token: Token, o: Tensor) -> Tensor:
        """Return norm((o + D v) silu(z))."""
        z = Wx.split(self.sizes, dim=-1)[3]
        y = (o + self.D[:, None] * token.v).flatten(-2) * silu(z)
        return rms_norm(y, (self.hidden_size,), self.norm, EPSILON)


@register_cell("gla")
class GLA(GatedLinearAttention):
    """Linear attention with a decay per key that depends on x.

    q, k, v, g = W x                    k / sqrt(H / N)
    a = sigmoid(W_a V x + b)^(1 / 16)   of each key; V x has 16 numbers
    S' = a S + k v^T
    h' = norm(S'^T q) silu(g)           norm of each head, with weights that the heads share

    The published layer has half as many keys as values, and a projection of h, which is left out.

    Parameters: 4HX + 16X + 17H + H/N for X inputs, H units and N heads.
    """

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.W = nn.Linear(input_size, 4 * hidden_size, bias=False)
        self.V = nn.Linear(input_size, RANK, bias=False)
        self.W_a = nn.Linear(RANK, hidden_size)
        self.norm = nn.Parameter(torch.ones(self.head_size))

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return [q | k | v | g | log a]."""
        return cat((self.W(x), logsigmoid(self.W_a(self.V(x))) / 16), dim=-1)

    def token(self, Wx: Tensor) -> Token:
        """Return q, k, v and log a."""
        q, k, v, _, log_a = (self.heads(part) for part in Wx.chunk(5, dim=-1))
        return Token(q, k / self.head_size**0.5, v, log_a)

    def read_out(self, Wx: Tensor, token: Token, o: Tensor) -> Tensor:  # noqa: ARG002
        """Return norm(o) silu(g)."""
        g = Wx.chunk(5, dim=-1)[3]
        return rms_norm(o, (self.head_size,), self.norm, EPSILON).flatten(-2) * silu(g)


@register_cell("hgrn2")
class HGRN2(GatedLinearAttention):
    """Linear attention whose key is what the decay leaves free.

    Source: Qin et al. (2024), "HGRN2": gated linear RNNs with a larger state.

    q, f, v = W x
    a = sigmoid(f)                      of each key
    S' = a S + (1 - a) v^T
    h' = norm(S'^T silu(q))             by the root mean square of all units, with weights

    The lower bounds of a in upper layers and the projection of h are left out.

    Parameters: 3HX + H for X inputs, H units and N heads.
    """

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 4) -> None:
        super().__init__(input_size, hidden_size, num_heads=num_heads)
        self.W = nn.Linear(input_size, 3 * hidden_size, bias=False)
        self.norm = nn.Parameter(torch.ones(hidden_size))

    def token(self, Wx: Tensor) -> Token:
        """Return silu(q), 1 - a, v and log a."""
        q, f, v = (self.heads(part) for part in Wx.chunk(3, dim=-1))
        return Token(silu(q), sigmoid(-f), v, logsigmoid(f))

    def read_out(self, Wx: Tensor, token: Token, o: Tensor) -> Tensor:  # noqa: ARG002
        """Return norm(o)."""
        return rms_norm(o.flatten(-2), (self.hidden_size,), self.norm, EPSILON)
