"""A cell's own step and its derived gradient, operation by operation: no compiler is needed."""

from torch import Tensor

from charlm.cell import Cell, State
from charlm.engine.eager import refusal, through
from charlm.unroll import register_kernel, embed_if_shorter


@register_kernel("bptt", Cell, unless=refusal)
def bptt(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    x, ids = embed_if_shorter(x, ids)
    return through(cell, cell.project_inputs(x), state, ids)
