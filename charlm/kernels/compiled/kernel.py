"""C made from a cell's own step, with a backward pass derived from it, on a CPU."""

from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.kernels.compiled.linear import CompiledLinearMode
from charlm.kernels.compiled.runtime import CompiledStepper, run_compiled, unsupported_reason
from charlm.kernels.loop import embed_if_shorter
from charlm.kernels.registry import SINGLE_STEP_KERNELS, register_kernel

SINGLE_STEP_KERNELS["compiled"] = CompiledStepper


@register_kernel("compiled", Cell, unless=unsupported_reason)
def compiled(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    x, ids = embed_if_shorter(x, ids)
    with CompiledLinearMode():
        Wx = cell.project_inputs(x)
    return run_compiled(cell, Wx, state, ids)
