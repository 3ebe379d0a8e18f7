"""Custom cells that the user trusts: loaded from their files, and checked before training."""

from collections.abc import Sequence

from charlm.cells.loader import custom_cell_sha256, load_custom_cell
from charlm.cells.names import parse_custom_cell
from charlm.runs.run import Run
from charlm.testing.case import REQUIRED_CHECKS
from charlm.testing.cell_checks import FLOPS_CHECK
from charlm.testing.check import require


def load_and_check_custom_cells(cells: Sequence[str], compared: bool = False) -> None:
    """Load the custom ones among these cells, and refuse one whose scores would be meaningless.

    Args:
        cells: Names of cells, or FILE.py:CLASS. The files are executed.
        compared: Whether their costs will be compared, so that FLOPs must be counted right.

    Raises:
        CellCheckError: A cell fails a required check.
    """
    checks = [*REQUIRED_CHECKS, FLOPS_CHECK] if compared else REQUIRED_CHECKS
    for cell in cells:
        if parse_custom_cell(cell) is not None:
            load_custom_cell(cell)
            require(cell, checks)


def find_cell_file(run: Run, cells: Sequence[str]) -> str:
    """Return the FILE.py:CLASS among `cells` of which a run was made.

    If none has its SHA-256, the first with its class is returned, so that loading it explains the
    difference; "" if there is none, or if the run's cell is built in.
    """
    recorded = parse_custom_cell(run.record.config.cell)
    if recorded is None:
        return ""
    candidates = [
        cell for cell in cells if (custom := parse_custom_cell(cell)) and custom[1] == recorded[1]
    ]
    same = [cell for cell in candidates if custom_cell_sha256(cell) == run.record.cell_sha256]
    return next(iter(same or candidates), "")
