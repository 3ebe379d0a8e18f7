"""Command `charlm clean`."""

import sys
from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import HOUSE
from charlm.cli.options import JSON, RUN_DIRECTORIES
from charlm.errors import UsageError


@app.command(name="clean", rich_help_panel=HOUSE)
def clean_command(
    directories: RUN_DIRECTORIES = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache", help="Encoded texts and compiled kernels of the cache; downloads stay."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    json: JSON = False,
) -> None:
    """Show what can be removed, and remove it.

    Of finished runs: the state of the optimizer and all checkpoints but the best. Anywhere: what
    killed processes left. Best weights, metrics, reports and what a process is using stay.

    Nothing is removed without --yes, or a yes on a terminal.

    Examples:
        $ charlm clean runs         # list, then ask
        $ charlm clean runs --yes   # remove at once
        $ charlm clean --cache
    """
    if not directories and not cache:
        raise UsageError(
            "cannot clean: nothing is named. Try charlm clean runs, or charlm clean --cache"
        )
    from charlm.reporting.terminal.cleanup import print_cleanup, print_cleanup_total
    from charlm.runs.cleanup import clean

    report = clean(directories or (), cache=cache, remove=yes)
    if json:
        console.print_json(msgspec.to_builtins(report))
        return
    print_cleanup(report)
    if yes or not report.surplus:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        console.print_message("nothing was removed. Try --yes")
    elif _is_confirmed():
        print_cleanup_total(clean(directories or (), cache=cache, remove=True))
    else:
        console.print_message("nothing was removed")


def _is_confirmed() -> bool:
    """Ask on the terminal; the end of the input is a no, and an interruption ends the command."""
    try:
        return typer.confirm("Remove this?", err=True)
    except typer.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise
        console.print_message("")  # after the question
        return False
