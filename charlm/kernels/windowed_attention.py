"""PyTorch's own attention, a window of characters at once."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from charlm.cells.attention import HEADS, Attention
from charlm.cells.base import Cell, State
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel


@register_kernel("fused", Attention)
def windowed_attention(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    assert isinstance(cell, Attention)
    scale = (cell.hidden_size / HEADS) ** -0.5
    outputs = []
    for Wx in project_tokens(cell, x, ids).split(
        cell.window
    ):  # of more, most pairs are too far apart
        near = cell.nearness(len(Wx), state[-1])
        q, K, V, after = cell.after(Wx, state)
        q, K, V = cell.heads(q), cell.heads(K), cell.heads(V)
        outputs.append(cell.read(scaled_dot_product_attention(q, K, V, near, scale=scale)))
        state = (outputs[-1][-1], *after)
    return torch.cat(outputs), state
