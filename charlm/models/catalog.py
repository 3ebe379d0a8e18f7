"""Catalog of the cells: citation, size, cost and kernels of each."""

import re
from collections.abc import Sequence

from charlm.cells.loader import citation, get_cell
from charlm.cells.names import CELL_NAMES, PACKAGE, package_classes
from charlm.kernels.registry import supported_kernels
from charlm.models.shapes import meta_device
from charlm.results.cells import CellList, CellSummary


def list_cells(
    hidden_size: int = 256, device: str = "cpu", cells: Sequence[str] = tuple(CELL_NAMES)
) -> CellList:
    """Return a summary of each cell, by default of all built-in ones.

    Args:
        hidden_size: Number of units, and of the numbers that they read.
        device: The device for which kernels are listed.
        cells: Names of cells.
    """
    summaries = tuple(cell_summary(name, hidden_size, device) for name in cells)
    foreign = tuple(f"{PACKAGE}:{name}" for name in package_classes())
    return CellList(hidden_size=hidden_size, device=device, cells=summaries, package_cells=foreign)


def cell_summary(name: str, hidden_size: int = 256, device: str = "cpu") -> CellSummary:
    """Return the summary of one cell."""
    cell_type = get_cell(name)
    with meta_device():
        cell = cell_type(hidden_size, hidden_size)
    smallest = cell_type.size_multiple()
    kernels = tuple(supported_kernels(cell_type(smallest, smallest), device, build=False))
    cited = re.match(r"(.+?) \((\d{4})\)", citation(cell_type))
    authors, year = cited.groups() if cited else ("", 0)
    return CellSummary(
        cell=name,
        authors=authors,
        year=int(year),
        states=cell.states,
        parameters=sum(parameter.numel() for parameter in cell.parameters()),
        flops=cell.flops,
        is_linear="scan" in kernels,
        kernels=kernels,
    )
