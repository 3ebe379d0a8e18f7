"""charlm cells"""

from typing import Annotated

import typer

from charlm import show
from charlm.cli.root import app
from charlm.config import CELL_NAMES, parse_custom_cell
from charlm.errors import ConfigError, CellCheckError
from charlm.flags import JSON
from charlm.listing import read_cell_source
from charlm.signals import raise_pending

NAME = Annotated[str, typer.Argument(metavar="CELL", help="One of them, or FILE.py:CLASS.")]
HIDDEN = Annotated[int, typer.Option(help="Units, and what they read.", min=1, max=2**14)]
cells = typer.Typer()
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
        raise ConfigError("--hidden and --json stand after list, show or check")


@cells.command(name="list")
def list_cells(hidden: HIDDEN = 256, json: JSON = False) -> None:
    """Every cell: its paper, what it carries, its size and cost, its kernels here."""
    from charlm.catalogue import cell_summary
    from charlm.machine import select_device
    from charlm.show import tables

    raise_pending()
    device, _ = select_device("auto", 1)
    entries = [cell_summary(name, hidden, device) for name in CELL_NAMES]
    if json:
        show.print_json({"hidden": hidden, "device": device, "cells": entries})
    else:
        tables.print_cells(entries, hidden)


@cells.command(name="show")
def show_cell(name: NAME) -> None:
    """Print a cell's paper, its equations and its code; nothing of it runs."""
    cell = read_cell_source(name)
    show.print_result(f"{cell.paper}\n\n{cell.equations}\n\n{cell.file}\n\n{cell.code.rstrip()}")


@cells.command(name="check")
def check_cell(name: NAME, json: JSON = False) -> None:
    """Hold a cell to what every cell promises; exit code 80 if it breaks a promise.

    charlm cells check my_cell.py:MyCell

    A line a promise: ok, or broken and how. A file's code runs.
    """
    named = parse_custom_cell(name)
    from charlm import contract
    from charlm.machine import select_device
    from charlm.zoo import load_custom_cell

    raise_pending()
    select_device("cpu", 1)
    if named:
        load_custom_cell(name)
    found = {}
    for promise in contract.CHECKS:
        found[promise] = contract.run_check(name, promise)
        if not json:
            said = (
                f"broken  {promise}: {found[promise]}" if found[promise] else f"ok      {promise}"
            )
            show.print_result(said)
        raise_pending()
    broken = [promise for promise, problem in found.items() if problem]
    if json:
        promises = [{"promise": text, "problem": said or None} for text, said in found.items()]
        show.print_json({"cell": name, "kept": not broken, "promises": promises})
    if broken:
        raise CellCheckError(f"{name} breaks {len(broken)} of {len(found)} promises: see above")
