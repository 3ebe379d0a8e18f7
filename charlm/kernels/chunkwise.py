"""Chunkwise parallel form of the matrix LSTM: all pairs of tokens of a chunk at once.

Source: Beck et al. (2024), "xLSTM", and the chunkwise form of linear attention (Hua et al. 2022).
"""

import torch
from torch import Tensor, einsum, exp, maximum

from charlm.cells.base import Cell, State
from charlm.cells.matrix_lstm import MatrixLSTM
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel

CHUNK_SIZE = 32  # tokens: at about this length the pairs cost as much as the state


@register_kernel("scan", MatrixLSTM, priority={"cpu": 20, "cuda": 20})
def chunkwise(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll a matrix LSTM as `unroll_loop` does."""
    assert isinstance(cell, MatrixLSTM)
    outputs = []
    for Wx in project_tokens(cell, x, ids).split(CHUNK_SIZE):
        h, state = _unroll_chunk(cell, Wx, state)
        outputs.append(h)
    return torch.cat(outputs), state


def _unroll_chunk(cell: MatrixLSTM, Wx: Tensor, state: State) -> tuple[Tensor, State]:
    """Unroll one chunk Wx (time, batch, any).

    Token s contributes at time t with the weight exp(F[t] - F[s] + i[s] - m[t]), where F is the
    cumulative sum of log f in the chunk. m[t], the largest of these exponents, keeps each weight
    at most 1.
    """
    _, C, n, m = state
    q, k, v = cell.vectors(Wx)
    i, f = cell.exponents(Wx)
    F = f.cumsum(0)
    largest = F + maximum(m, (i.clamp(min=0) - F).cummax(0).values)
    initial_weight = exp(F + m - largest)  # (time, batch, heads): of the state before the chunk
    exponents = F[:, None] - F + i - largest[:, None]  # (t, s, batch, heads)
    is_past = torch.ones(len(Wx), len(Wx), dtype=torch.bool, device=Wx.device).tril()
    weights = exp(exponents.masked_fill(~is_past[..., None, None], -torch.inf))
    scores = einsum("tbhk,sbhk->tsbh", q, k) * weights
    Cq = initial_weight[..., None] * einsum("bhkv,tbhk->tbhv", C, q)
    Cq = Cq + einsum("tsbh,sbhv->tbhv", scores, v)
    nq = initial_weight * einsum("bhk,tbhk->tbh", n, q) + scores.sum(1)
    h = cell.read_out(Wx, Cq, nq, largest)
    final_weights = weights[-1][..., None]
    C = initial_weight[-1][..., None, None] * C
    C = C + einsum("sbhk,sbhv->bhkv", final_weights * k, v)
    n = initial_weight[-1][..., None] * n + (final_weights * k).sum(0)
    return h, (h[-1], C, n, largest[-1])
