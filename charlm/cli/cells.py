"""charlm cells"""

from typing import Annotated

import typer

from charlm import show
from charlm.cli.root import app
from charlm.config import CELL_NAMES, own
from charlm.errors import BadConfig, BrokenPromise
from charlm.flags import JSON
from charlm.listing import listing
from charlm.signals import check

NAME = Annotated[str, typer.Argument(metavar="CELL", help="One of them, or FILE.py:CLASS.")]
HIDDEN = Annotated[int, typer.Option(help="Units, and what they read.", min=1, max=2**14)]
cells = typer.Typer()
app.add_typer(cells, name="cells")


@cells.callback(invoke_without_command=True)
def zoo(context: typer.Context, hidden: HIDDEN = 256, json: JSON = False) -> None:
    """List the cells, show one, check one of your own.

    charlm cells

    charlm cells show gru

    charlm cells check my_cell.py:MyCell
    """
    if context.invoked_subcommand is None:
        listed(hidden, json)
    elif json or hidden != 256:
        raise BadConfig("--hidden and --json stand after list, show or check")


@cells.command(name="list")
def listed(hidden: HIDDEN = 256, json: JSON = False) -> None:
    """Every cell: its paper, what it carries, its size and cost, its kernels here."""
    from charlm.catalogue import entry
    from charlm.machine import prepare
    from charlm.show import tables

    check()
    device, _ = prepare("auto", 1)
    entries = [entry(name, hidden, device) for name in CELL_NAMES]
    if json:
        show.result_json({"hidden": hidden, "device": device, "cells": entries})
    else:
        tables.cells(entries, hidden)


@cells.command(name="show")
def shown(name: NAME) -> None:
    """Print a cell's paper, its equations and its code; nothing of it runs."""
    cell = listing(name)
    show.result(f"{cell.paper}\n\n{cell.equations}\n\n{cell.file}\n\n{cell.code.rstrip()}")


@cells.command(name="check")
def checked(name: NAME, json: JSON = False) -> None:
    """Hold a cell to what every cell promises; exit code 80 if it breaks a promise.

    charlm cells check my_cell.py:MyCell

    A line a promise: ok, or broken and how. A file's code runs.
    """
    named = own(name)
    from charlm import contract
    from charlm.machine import prepare
    from charlm.zoo import load

    check()
    prepare("cpu", 1)
    if named:
        load(name)
    found = {}
    for promise in contract.PROMISES:
        found[promise] = contract.problem(name, promise)
        if not json:
            said = (
                f"broken  {promise}: {found[promise]}" if found[promise] else f"ok      {promise}"
            )
            show.result(said)
        check()
    broken = [promise for promise, problem in found.items() if problem]
    if json:
        promises = [{"promise": text, "problem": said or None} for text, said in found.items()]
        show.result_json({"cell": name, "kept": not broken, "promises": promises})
    if broken:
        raise BrokenPromise(f"{name} breaks {len(broken)} of {len(found)} promises: see above")
