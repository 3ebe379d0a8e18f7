"""charlm cells"""

from typing import Annotated

import typer

from charlm import console
from charlm.cells.names import CELL_NAMES, parse_custom_cell
from charlm.cells.source_listing import read_cell_source
from charlm.cli.app import CommandLine, app
from charlm.cli.options import JSON
from charlm.errors import CellCheckError, ConfigError
from charlm.execution.signals import raise_pending

NAME = Annotated[str, typer.Argument(metavar="CELL", help="One of them, or FILE.py:CLASS.")]
HIDDEN = Annotated[int, typer.Option(help="Units, and what they read.", min=1, max=2**14)]
cells = CommandLine()
app.add_typer(cells, name="cells")


@cells.callback(invoke_without_command=True)
def cells_callback(context: typer.Context, hidden: HIDDEN = 256, json: JSON = False) -> None:
    """List the cells, show one, check one of your own.

    charlm cells

    charlm cells show gru

    charlm cells check my_cell.py:MyCell
    """
    if context.invoked_subcommand is None:
        list_cells(hidden, json)
    elif json or hidden != 256:
        raise ConfigError("--hidden-size and --json stand after list, show or check")


@cells.command(name="list")
def list_cells(hidden: HIDDEN = 256, json: JSON = False) -> None:
    """Every cell: its paper, what it carries, its size and cost, its kernels here."""
    from charlm.execution.device import select_device
    from charlm.models.catalog import cell_summary
    from charlm.reporting.terminal import tables

    raise_pending()
    device, _ = select_device("auto", 1)
    entries = [cell_summary(name, hidden, device) for name in CELL_NAMES]
    if json:
        console.print_json({"hidden_size": hidden, "device": device, "cells": entries})
    else:
        tables.print_cells(entries, hidden)


@cells.command(name="show")
def show_cell(name: NAME) -> None:
    """Print a cell's paper, its equations and its code; nothing of it runs."""
    cell = read_cell_source(name)
    console.print_result(f"{cell.paper}\n\n{cell.equations}\n\n{cell.file}\n\n{cell.code.rstrip()}")


@cells.command(name="check")
def check_cell(name: NAME, json: JSON = False) -> None:
    """Hold a cell to what every cell promises; exit code 80 if it breaks a promise.

    charlm cells check my_cell.py:MyCell

    A line a promise: ok, or broken and how. A file's code runs.
    """
    named = parse_custom_cell(name)
    from charlm.cells.loader import load_custom_cell
    from charlm.execution.device import select_device
    from charlm.testing import check

    raise_pending()
    select_device("cpu", 1)
    if named:
        load_custom_cell(name)
    found = {}
    for promise in check.CHECKS:
        found[promise] = check.run_check(name, promise)
        if not json:
            said = (
                f"broken  {promise}: {found[promise]}" if found[promise] else f"ok      {promise}"
            )
            console.print_result(said)
        raise_pending()
    broken = [promise for promise, problem in found.items() if problem]
    if json:
        promises = [{"promise": text, "problem": said or None} for text, said in found.items()]
        console.print_json({"cell": name, "kept": not broken, "promises": promises})
    if broken:
        raise CellCheckError(f"{name} breaks {len(broken)} of {len(found)} promises: see above")
