"""Command `charlm runs`."""

import time
from pathlib import Path

import msgspec

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import HOUSE
from charlm.cli.options import JSON, RUN_DIRECTORIES

DEFAULT_DIRECTORY = Path("runs")


@app.command(name="runs", rich_help_panel=HOUSE)
def runs_command(
    directories: RUN_DIRECTORIES = None,
    json: JSON = False,
) -> None:
    """List runs: cell, text, bits, state, size and age.

    Without DIR, those in `runs` are listed. Weights are not hashed: `charlm verify` does that.

    Examples:
        $ charlm runs                     # those in runs/
        $ charlm runs comparison --json   # those of a comparison, as JSON
    """
    from charlm.reporting.terminal.run_list import print_runs
    from charlm.runs.listing import list_runs

    runs = list_runs(directories or [DEFAULT_DIRECTORY])
    if json:
        console.print_json(msgspec.to_builtins(runs))
    else:
        print_runs(runs, time.time())
