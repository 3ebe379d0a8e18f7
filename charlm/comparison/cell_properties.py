"""Properties of cells that decide how they are compared: gates, and linearity in the state."""

from collections.abc import Sequence

from charlm.cells.linear_cell import LinearCell
from charlm.cells.loader import get_cell
from charlm.cells.lru import LRU
from charlm.cells.names import cell_label

PREFERRED_REFERENCE = "gru"


def choose_reference(cells: Sequence[str]) -> str:
    """Return the cell that others are compared with: the GRU, the first with gates, or the first.

    A plain RNN is easily beaten, so being better than it says little.
    """
    if PREFERRED_REFERENCE in cells:
        return PREFERRED_REFERENCE
    return next((cell for cell in cells if get_cell(cell).gate_descriptions), cells[0])


def is_linear_in_state(cell: str) -> bool:
    """Return whether the next state of a cell is linear in the last one."""
    return issubclass(get_cell(cell), (LinearCell, LRU))


def linear_beside_others(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of cells that are linear in their state; none if all are, or none is.

    Such a cell alone, with a linear output layer, is nearly a linear map of the past. It is meant
    to stand in blocks with nonlinear layers.
    """
    linear = [cell_label(cell) for cell in cells if is_linear_in_state(cell)]
    return tuple(linear) if len(linear) < len(cells) else ()
