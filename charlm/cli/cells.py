"""charlm cells: list the cells, show one, check one."""

from typing import Annotated

import msgspec
import typer
from typer.exceptions import Exit

from charlm import console
from charlm.cells.names import CELL_NAMES, cell_label, parse_custom_cell
from charlm.cells.source_listing import read_cell_source
from charlm.cli.app import CommandLine, app
from charlm.cli.completion import complete_cell
from charlm.cli.help import CELLS_AND_TASKS
from charlm.cli.options import JSON
from charlm.errors import CellCheckError, ConfigError
from charlm.execution.signals import raise_pending
from charlm.reporting.tables.bibtex import render_bibtex
from charlm.results.cells import CellListing
from charlm.results.report_text import Bibliography

DEFAULT_HIDDEN_SIZE = 256
CELL = Annotated[
    str,
    typer.Argument(
        metavar="CELL",
        help="Name of a cell, or FILE.py:CLASS.",
        autocompletion=complete_cell,
    ),
]
HIDDEN_SIZE = Annotated[
    int, typer.Option(help="Units, and numbers that they read.", metavar="N", min=1, max=2**14)
]
cells = CommandLine()
app.add_typer(cells, name="cells", rich_help_panel=CELLS_AND_TASKS)


@cells.callback(invoke_without_command=True)
def cells_callback(
    context: typer.Context, hidden_size: HIDDEN_SIZE = DEFAULT_HIDDEN_SIZE, json: JSON = False
) -> None:
    """List the cells, show one, check your own.

    Examples:
        $ charlm cells                        # all of them, with size and cost
        $ charlm cells show gru               # its paper, equations and code
        $ charlm cells check my_cell.py:Mine  # does your own cell work?
        $ charlm cells bibtex gru             # its paper as BibTeX
    """
    if context.invoked_subcommand is None:
        list_cells(hidden_size, json)
    elif json or hidden_size != DEFAULT_HIDDEN_SIZE:
        command = context.invoked_subcommand
        raise ConfigError(
            f"cannot use --hidden-size or --json before {command}. "
            f"Try them after charlm cells {command}"
        )


@cells.command(name="list")
def list_cells(hidden_size: HIDDEN_SIZE = DEFAULT_HIDDEN_SIZE, json: JSON = False) -> None:
    """List every cell: paper, states, size, cost and kernels.

    Examples:
        $ charlm cells list --hidden-size 100
        $ charlm cells list --json
    """
    from charlm.execution.device import select_device
    from charlm.models import catalog
    from charlm.reporting.terminal.cells import print_cells

    raise_pending()
    device, _ = select_device("auto", 1)
    report = catalog.list_cells(hidden_size, device)
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_cells(report)


@cells.command(name="show")
def show_cell(cell: CELL, json: JSON = False) -> None:
    """Print a cell's paper, equations and code. Nothing is executed.

    Examples:
        $ charlm cells show gru
        $ charlm cells show my_cell.py:MyCell
    """
    from charlm.reporting.terminal.cells import print_cell_source

    source = read_cell_source(cell)
    if json:
        listing = CellListing(
            cell=cell,
            citation=source.citation,
            equations=source.equations,
            file=str(source.file),
            code=source.code,
        )
        console.print_json(msgspec.to_builtins(listing))
    else:
        print_cell_source(source.citation, source.equations, str(source.file), source.code)


@cells.command(name="bibtex")
def print_bibtex(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CELL",
            help="Names of cells. [default: all]",
            show_default=False,
            autocompletion=complete_cell,
        ),
    ] = None,
    json: JSON = False,
) -> None:
    """Print the papers of cells, and charlm, as BibTeX.

    Examples:
        $ charlm cells bibtex gru lstm >> paper.bib
    """
    for name in names or ():
        parse_custom_cell(name)  # refuses an unknown name
    text = render_bibtex([cell_label(name) for name in names or CELL_NAMES])
    if json:
        console.print_json(msgspec.to_builtins(Bibliography(bibtex=text)))
    else:
        console.print_result(text.rstrip("\n"), verbatim=True)


@cells.command(name="check")
def check_cell(cell: CELL, json: JSON = False) -> None:
    """Check a cell against the contract of every cell. The file is executed.

    Prints one line per check. The exit code is 80 if one fails.

    Examples:
        $ charlm cells check my_cell.py:MyCell
        $ charlm cells check gru --json
    """
    parse_custom_cell(cell)  # refuses an unknown name before PyTorch is imported
    from charlm.execution.device import select_device
    from charlm.reporting.terminal.cells import print_check
    from charlm.testing.check import check_report, iter_checks

    raise_pending()
    select_device("cpu", 1)
    results = []
    for result in iter_checks(cell):
        results.append(result)
        if not json:
            print_check(result)
        raise_pending()
    report = check_report(cell, results)
    if json:
        console.print_json(msgspec.to_builtins(report))
        raise Exit(0 if report.passed else CellCheckError.code)
    if not report.passed:
        failed = sum(result.problem is not None for result in results)
        raise CellCheckError(f"{cell} fails {failed} of {len(results)} checks")
