"""Descriptions of cells: results of `charlm cells`."""

from collections.abc import Iterator
from typing import Any

import msgspec


class CellSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of `hidden_size` units that reads as many."""

    cell: str
    authors: str  # of its paper
    year: int  # of its paper
    states: tuple[str, ...]  # names of the parts of its state
    parameters: int
    flops: int  # matrix products of one time step, forward
    is_linear: bool  # next state is linear in the last, so that time can be scanned
    kernels: tuple[str, ...]  # kernels that support it on this device, fastest first


class CellListing(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm cells show`: what the source of a cell says, without executing it."""

    cell: str
    citation: str  # paper
    equations: str  # docstring of the class
    file: str  # path of the source
    code: str  # of the file, or of the class of a custom cell


class CellList(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm cells list`."""

    hidden_size: int
    device: str
    cells: tuple[CellSummary, ...]
    package_cells: tuple[str, ...] = ()  # names of those of an installed package

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.cells)

    def __iter__(self) -> Iterator[CellSummary]:
        """Iterate over the cells."""
        return iter(self.cells)

    def __getitem__(self, index: int) -> CellSummary:
        """Return a cell by its position."""
        return self.cells[index]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary per cell."""
        return [msgspec.to_builtins(cell) for cell in self.cells]


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """A conformance check; problem is None if it passed."""

    check: str  # name of the check
    problem: str | None  # failure; None if the check passed


class CellCheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm cells check`."""

    cell: str
    passed: bool  # True if every check passed
    checks: tuple[CheckResult, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary per check."""
        return [msgspec.to_builtins(result) for result in self.checks]
