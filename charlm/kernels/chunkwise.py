"""The matrix LSTM, chunk by chunk: within one, all pairs of characters at once.

After Beck et al. (2024), "xLSTM", and the chunkwise form of linear attention (Hua et al. 2022).
"""

import torch
from torch import Tensor, einsum, exp, maximum

from charlm.cells.base import Cell, State
from charlm.cells.matrix_lstm import MatrixLSTM
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel

CHUNK_SIZE = (
    32  # of a chunk: pairs of characters cost as much as the state does at about this length
)


@register_kernel("scan", MatrixLSTM)
def chunkwise(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    assert isinstance(cell, MatrixLSTM)
    outputs = []
    for Wx in project_tokens(cell, x, ids).split(CHUNK_SIZE):
        h, state = _chunk(cell, Wx, state)
        outputs.append(h)
    return torch.cat(outputs), state


def _chunk(cell: MatrixLSTM, Wx: Tensor, state: State) -> tuple[Tensor, State]:
    """One chunk (time, batch, any), all pairs of its characters at once.

    A character s is still there at t as exp(F[t] - F[s] + i[s] - m[t]), F being the sum of log f
    since the chunk began; m[t], the largest of all these exponents, keeps each at most 1.
    """
    _, C, n, m = state
    q, k, v = cell.vectors(Wx)
    i, f = cell.exponents(Wx)
    F = f.cumsum(0)
    largest = F + maximum(m, (i.clamp(min=0) - F).cummax(0).values)
    before = exp(F + m - largest)  # (time, batch, heads): of what the chunk began with
    exponents = F[:, None] - F + i - largest[:, None]  # (t, s, batch, heads)
    past = torch.ones(len(Wx), len(Wx), dtype=torch.bool, device=Wx.device).tril()
    share = exp(exponents.masked_fill(~past[..., None, None], -torch.inf))
    alike = einsum("tbhk,sbhk->tsbh", q, k) * share
    Cq = before[..., None] * einsum("bhvk,tbhk->tbhv", C, q) + einsum("tsbh,sbhv->tbhv", alike, v)
    nq = before * einsum("bhk,tbhk->tbh", n, q) + alike.sum(1)
    h = cell.read(Wx, Cq, nq, largest)
    last = share[-1][..., None]
    C = before[-1][..., None, None] * C + einsum("sbhv,sbhk->bhvk", last * v, k)
    n = before[-1][..., None] * n + (last * k).sum(0)
    return h, (h[-1], C, n, largest[-1])
