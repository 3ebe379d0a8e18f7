"""A cell's own step and its derived gradient, operation by operation: no compiler is needed."""

from torch import Tensor

from charlm.cell import Cell, State
from charlm.engine.eager import refusal, through
from charlm.unroll import kernel, table_or_text


@kernel("bptt", Cell, unless=refusal)
def bptt(cell: Cell, x: Tensor, state: State, ids: Tensor | None = None) -> tuple[Tensor, State]:
    x, ids = table_or_text(x, ids)
    return through(cell, cell.project(x), state, ids)
