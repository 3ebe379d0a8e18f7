"""Matrix products of cells: block-diagonal ones, and the width of a projection without products."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

from charlm.cells.base import Cell


def block_diagonal_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply with block-diagonal matrices: each head reads only its own part of x.

    Args:
        x: (batch, heads * head_size).
        weight: (parts, heads, head_size, head_size).

    Returns:
        (batch, parts * heads * head_size): the parts side by side, as `chunk` separates them.
    """
    if has_torch_function((x, weight)):
        product: Tensor = handle_torch_function(block_diagonal_linear, (x, weight), x, weight)
        return product
    parts, heads, head_size, _ = weight.shape
    return torch.einsum("bhi,phoi->bpho", x.unflatten(-1, (heads, head_size)), weight).flatten(1)


class ShapeOnlyLinear(TorchFunctionMode):
    """Replace `linear` by a function that only allocates its result."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.linear:
            x, weight, *_ = args
            return x.new_empty(*x.shape[:-1], len(weight))
        return func(*args, **(kwargs or {}))


def projection_size(cell: Cell) -> int:
    """Return the width of what `cell.project_inputs` returns; the cell may be on the meta device.

    Products are not computed: on the meta device PyTorch would load its compiler, which takes
    longer than everything else that a command does.
    """
    with torch.no_grad(), ShapeOnlyLinear():
        return cell.project_inputs(next(cell.parameters()).new_zeros(1, cell.input_size)).shape[-1]
