"""Chunkwise parallel form of gated linear attention: all pairs of tokens of a chunk at once.

Source: Yang et al. (2024), "Gated linear attention transformers".
"""

import torch
from torch import Tensor, einsum, exp

from charlm.cells.base import Cell, State
from charlm.cells.gated_linear_attention import (
    GLA,
    HGRN2,
    GatedLinearAttention,
    Mamba2,
    RetNet,
    Token,
)
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel

CHUNK_SIZE = 16  # tokens: a decay per key needs a number for each pair and key


@register_kernel("scan", RetNet, Mamba2, GLA, HGRN2, priority={"cpu": 20, "cuda": 20})
def scan_linear_attention(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll a cell of gated linear attention as `unroll_loop` does."""
    assert isinstance(cell, GatedLinearAttention)
    Wx, S = project_tokens(cell, x, ids), state[1]
    token = cell.token(Wx)
    outputs = []
    chunks = zip(*(part.split(CHUNK_SIZE) for part in token), strict=True)
    for chunk in map(Token._make, chunks):
        o, S = _unroll_chunk(chunk, S)
        outputs.append(o)
    h = cell.read_out(Wx, token, torch.cat(outputs))
    return h, (h[-1], S)


def _unroll_chunk(token: Token, S: Tensor) -> tuple[Tensor, Tensor]:
    """Return S^T q (time, batch, heads, head_size) and the last S.

    Token s contributes at time t with the weight exp(F[t] - F[s]), where F is the cumulative sum of
    log a in the chunk. Only exponents that are at most 0 are computed: no weight overflows.
    """
    q, k, v, log_a = token
    F = log_a.cumsum(0)
    is_past = torch.ones(len(q), len(q), dtype=torch.bool, device=q.device).tril()
    exponents = F[:, None] - F  # (t, s, batch, heads, keys or 1)
    weights = exp(exponents.masked_fill(~is_past[..., None, None, None], -torch.inf))
    if F.shape[-1] == 1:
        scores = einsum("tbhk,sbhk->tsbh", q, k) * weights[..., 0]
    else:
        scores = (q[:, None] * k * weights).sum(-1)
    o = einsum("tbhk,bhkv->tbhv", q * exp(F), S) + einsum("tsbh,sbhv->tbhv", scores, v)
    S = exp(F[-1])[..., None] * S + einsum("sbhk,sbhv->bhkv", weights[-1] * k, v)
    return o, S
