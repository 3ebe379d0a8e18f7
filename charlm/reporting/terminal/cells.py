"""Cells on a terminal: the list, the source of one, the result of its checks."""

import re

from charlm.console import print_result
from charlm.reporting.formatting import format_count
from charlm.reporting.terminal.tables import make_table, print_paragraphs, print_table
from charlm.results.cells import CellList, CheckResult

HEADS = ("cell", "paper", "states", "size", "FLOPs", "scan", "kernels")


def print_cells(cells: CellList) -> None:
    """Print one line per cell, and the meaning of the columns."""
    table = make_table()
    for name in HEADS:
        right = name in ("size", "FLOPs")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "cell")
    for cell in cells.cells:
        first = re.split(",| & | et al", cell.authors)[0].split()[-1]
        table.add_row(
            cell.cell,
            f"{first} {cell.year}",
            " ".join(cell.states),
            format_count(cell.parameters),
            format_count(cell.flops),
            "yes" if cell.is_linear else "no",
            " ".join(kernel for kernel in cell.kernels if kernel != "loop"),
        )
    print_table(table)
    names = [name.partition(":")[2] for name in cells.package_cells]
    package = cells.package_cells[0].partition(":")[0] if names else ""
    foreign = f"Also {package}:NAME, with one of {', '.join(names)}." if names else ""
    print_paragraphs(
        [
            f"size: parameters of {cells.hidden_size} units with {cells.hidden_size} inputs. "
            "FLOPs: of their matrix products per character. scan: linear in its state, so that "
            "time can be scanned in parallel. Every cell also has the kernel loop. "
            "Next: charlm cells show CELL",
            *([foreign] if foreign else []),
        ]
    )


def print_cell_source(citation: str, equations: str, file: str, code: str) -> None:
    """Print a cell's paper, equations, file and code."""
    parts = filter(None, (citation, equations, file, code.rstrip()))
    print_result("\n\n".join(parts), verbatim=True)


def print_check(result: CheckResult) -> None:
    """Print whether a cell passed a check, in one line."""
    if result.problem:
        print_result(f"failed  {result.check}: {result.problem}")
    else:
        print_result(f"ok      {result.check}")
