"""PyTorch's scaled dot-product attention as a kernel, one window of tokens at a time."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from charlm.cells.attention import NUM_HEADS, Attention
from charlm.cells.base import Cell, State
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel


@register_kernel("native", Attention, priority={"cpu": 10, "cuda": 30})
def windowed_attention(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll attention as `unroll_loop` does."""
    assert isinstance(cell, Attention)
    scale = (cell.hidden_size / NUM_HEADS) ** -0.5
    outputs = []
    # Of more tokens at once most pairs would be too far apart.
    for Wx in project_tokens(cell, x, ids).split(cell.window):
        bias = cell.position_bias(len(Wx), state[-1])
        q, K, V, window = cell.extend_window(Wx, state)
        q, K, V = cell.split_heads(q), cell.split_heads(K), cell.split_heads(V)
        attended = scaled_dot_product_attention(q, K, V, bias, scale=scale)
        outputs.append(cell.merge_heads(attended))
        state = (outputs[-1][-1], *window)
    return torch.cat(outputs), state
