"""Plain loop over time: the specification that every other kernel must equal."""

import torch
from torch import Tensor
from torch.nn.functional import embedding

from charlm.cells.base import Cell, State
from charlm.kernels.registry import register_kernel


def embed_if_shorter(x: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Look up the ids in the table if the text is shorter than the table.

    Args:
        x: Embedding table (vocabulary, input_size) if ids are given, else inputs.
        ids: (time, batch) or None.

    Returns:
        Inputs (time, batch, input_size) and None; or table and ids as they are, if it is cheaper to
        project the table.
    """
    if ids is not None and ids.numel() < len(x):
        return embedding(ids, x), None
    return x, ids


def project_tokens(cell: Cell, x: Tensor, ids: Tensor | None) -> Tensor:
    """Return the projected input of every time step (time, batch, any)."""
    x, ids = embed_if_shorter(x, ids)
    return cell.project_inputs(x) if ids is None else embedding(ids, cell.project_inputs(x))


@register_kernel("loop", Cell, priority={"cpu": 0, "cuda": 0, "mps": 0})
def unroll_loop(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll a cell step by step.

    Args:
        cell: The cell.
        x: Inputs (time, batch, input_size), or a table (vocabulary, input_size).
        state: The state before the first step.
        ids: Indices (time, batch) into the table, or None.

    Returns:
        Outputs (time, batch, output_size) and the state after the last step.
    """
    outputs, ready = [], cell.prepared()
    for Wx in project_tokens(cell, x, ids):
        state = ready.step(Wx, state)
        outputs.append(state[0])
    return torch.stack(outputs), state
