"""TODO docstring."""

from collections.abc import Sequence

from charlm.cells.names import parse_custom_cell
from charlm.runs.run import Run


def load_and_check_custom_cells(cells: Sequence[str], compared: bool = False) -> None:
    """Loads those of the cells that the person named in a file, and refuses one whose scores would
    mean nothing; compared: or whose FLOPs would."""
    if any(parse_custom_cell(cell) for cell in cells):
        from charlm.cells import loader
        from charlm.testing import check
        from charlm.testing.cell_checks import FLOPS

        for cell in cells:
            if parse_custom_cell(cell):
                loader.load_custom_cell(cell)
                check.require(cell, [*check.REQUIRED_CHECKS, *([FLOPS] if compared else [])])


def find_cell_file(run: "Run", cells: Sequence[str]) -> str:
    """The file that has the run's cell: of those with its class, the one it was made of."""
    from charlm.cells.loader import custom_cell_sha256

    wanted = parse_custom_cell(run.record.config.cell)
    there = [
        cell for cell in cells if wanted and (parse_custom_cell(cell) or ("", ""))[1] == wanted[1]
    ]
    same = [cell for cell in there if custom_cell_sha256(cell) == run.record.cell_sha256]
    return (same or there or [""])[0]
