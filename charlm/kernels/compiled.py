"""C made from a cell's own step, with a backward pass derived from it, on a CPU."""

from torch import Tensor

from charlm.cell import Cell, State
from charlm.engine.products import CompiledLinearMode
from charlm.engine.walk import CompiledStepper, unsupported_reason, run_compiled
from charlm.unroll import SINGLE_STEP_KERNELS, register_kernel, embed_if_shorter

SINGLE_STEP_KERNELS["compiled"] = CompiledStepper


@register_kernel("compiled", Cell, unless=unsupported_reason)
def compiled(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    x, ids = embed_if_shorter(x, ids)
    with CompiledLinearMode():
        Wx = cell.project_inputs(x)
    return run_compiled(cell, Wx, state, ids)
