"""TODO docstring."""

import torch
from torch import Tensor
from torch.nn.functional import embedding

from charlm.cells.base import Cell, State
from charlm.kernels.registry import register_kernel


def embed_if_shorter(x: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A table and ids as they are where the text is longer than the table; else x of each time."""
    if ids is not None and ids.numel() < len(x):
        return embedding(ids, x), None
    return x, ids


def project_tokens(cell: Cell, x: Tensor, ids: Tensor | None) -> Tensor:
    """What x says at each time, (time, batch, any)."""
    x, ids = embed_if_shorter(x, ids)
    return cell.project_inputs(x) if ids is None else embedding(ids, cell.project_inputs(x))


@register_kernel("loop", Cell)
def unroll_loop(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """(time, batch, inputs) -> (time, batch, width), state after: what every kernel equals."""
    outputs = []
    for Wx in project_tokens(cell, x, ids):
        state = cell.step(Wx, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


class SingleStep:
    """A cell that reads one stream a character at a time, and carries its state itself.

    A kernel that walks whole texts has nothing to gain there: the steps are the cell's own.
    """

    def __init__(self, cell: Cell, state: State) -> None:
        self.cell, self.state = cell, state

    def __call__(self, Wx: Tensor) -> Tensor:
        """(1, any) -> the output (1, width), which the next call may overwrite."""
        self.state = self.cell.step(Wx, self.state)
        return self.state[0]
