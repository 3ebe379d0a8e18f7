"""Chunkwise form of the delta rule: one triangular system per chunk instead of a step per token.

Source: Yang et al. (2024), "Parallelizing linear transformers with the delta rule", and Yang, Kautz
and Hatamizadeh (2024), "Gated delta networks".
"""

import torch
from torch import Tensor, exp
from torch.linalg import solve_triangular

from charlm.cells.base import Cell, State
from charlm.cells.delta_cell import DeltaCell
from charlm.cells.deltanet import DeltaNet
from charlm.cells.deltaproduct import DeltaProduct
from charlm.cells.gated_deltanet import GatedDeltaNet
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel

CHUNK_SIZE = 32  # writes


def pairwise_log_decay(log_a: Tensor) -> Tensor:
    """Return the logarithm of what is left at write t of write s.

    Each is a sum of its own: a difference of cumulative sums would lose the digits of small decays
    that follow a large one.

    Args:
        log_a: Logarithms of the decay before each write (..., time).

    Returns:
        (..., t, s): the sum of log a from s + 1 to t, and -inf where s is after t.
    """
    time = log_a.shape[-1]
    is_later = torch.ones(time, time, dtype=torch.bool, device=log_a.device).tril(-1)
    sums = (log_a[..., None] * is_later).cumsum(-2)
    return sums.masked_fill(is_later.mT, -torch.inf)


@register_kernel("scan", DeltaNet, GatedDeltaNet, DeltaProduct, priority={"cpu": 20, "cuda": 20})
def chunkwise_delta_rule(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll a cell of the delta rule as `unroll_loop` does."""
    assert isinstance(cell, DeltaCell)
    _, S = state
    Wx = project_tokens(cell, x, ids)
    q, log_a = cell.query(Wx).permute(1, 2, 0, 3), cell.log_decay(Wx)
    # batch and heads first, and the writes of all tokens in one row
    k, v, b = (torch.stack(parts, 1).flatten(0, 1) for parts in zip(*cell.writes(Wx), strict=True))
    k, v, b = k.permute(1, 2, 0, 3), v.permute(1, 2, 0, 3), b.permute(1, 2, 0)
    log_decays = torch.zeros_like(b)
    if log_a is not None:  # before the first write of a token
        log_decays[..., :: cell.num_writes] = log_a.permute(1, 2, 0)
    tokens = CHUNK_SIZE // cell.num_writes
    outputs = []
    for start in range(0, q.shape[2], tokens):
        writes = slice(start * cell.num_writes, (start + tokens) * cell.num_writes)
        chunk = [part[:, :, writes] for part in (k, v, b, log_decays)]
        Sq, S = _unroll_chunk(S, q[:, :, start : start + tokens], *chunk)
        outputs.append(Sq)
    Sq = torch.cat(outputs, dim=2).permute(2, 0, 1, 3)
    h = cell.read_out(Wx, Sq)
    return h, (h[-1], S)


def _unroll_chunk(
    S: Tensor, q: Tensor, k: Tensor, v: Tensor, b: Tensor, log_a: Tensor
) -> tuple[Tensor, Tensor]:
    """Return S^T q at each token (batch, heads, tokens, head_size), and S after the chunk.

    Write t adds k[t] u[t]^T to the memory, where u[t] is b[t] times the error at k[t]. That error
    depends on the earlier u, with the weight D[t, s] k[t] k[s], where D is what is left of s:
    u is the solution of a unit lower triangular system.

    Args:
        S: Memory before the chunk (batch, heads, head_size, head_size).
        q: Queries (batch, heads, tokens, head_size).
        k: Keys (batch, heads, writes, head_size).
        v: Values (batch, heads, writes, head_size).
        b: Strengths (batch, heads, writes).
        log_a: Logarithms of the decay before each write (batch, heads, writes).
    """
    left = exp(pairwise_log_decay(log_a))
    left_of_S = exp(log_a.cumsum(-1))[..., None]
    coupling = (b[..., None] * left * (k @ k.mT)).tril(-1)
    errors = b[..., None] * (v - left_of_S * (k @ S))
    u = solve_triangular(coupling, errors, upper=False, unitriangular=True)
    num_writes = k.shape[2] // q.shape[2]
    last = slice(num_writes - 1, None, num_writes)  # a token is read after its last write
    Sq = left_of_S[:, :, last] * (q @ S) + (left[:, :, last] * (q @ k.mT)) @ u
    S = left_of_S[:, :, -1:] * S + (left[:, :, -1, :, None] * k).mT @ u
    return Sq, S
