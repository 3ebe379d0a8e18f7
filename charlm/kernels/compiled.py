"""C made from a cell's own step, with a backward pass derived from it, on a CPU."""

from torch import Tensor

from charlm.cell import Cell, State
from charlm.engine.products import OwnProducts
from charlm.engine.walk import CompiledStepper, refusal, through
from charlm.unroll import STEPPERS, kernel, table_or_text

STEPPERS["compiled"] = CompiledStepper


@kernel("compiled", Cell, unless=refusal)
def compiled(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    x, ids = table_or_text(x, ids)
    with OwnProducts():
        Wx = cell.project(x)
    return through(cell, Wx, state, ids)
