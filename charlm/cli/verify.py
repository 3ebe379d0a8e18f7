"""Command `charlm verify`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from typer.exceptions import Exit

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import HOUSE
from charlm.cli.options import JSON
from charlm.errors import ConfigError, DataError


@app.command(name="verify", rich_help_panel=HOUSE)
def verify_command(
    directories: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Runs, results, or directories that have some."),
    ],
    json: JSON = False,
) -> None:
    """Check every file of runs, such as runs that somebody sent.

    Hashes, tensors, metrics and reports are checked; of comparisons, probes and models trained on
    tasks, all results. No code is executed, and no text is opened. The exit code is 65 if something
    is wrong, and 78 if only the format of a run is another.

    Examples:
        $ charlm verify runs/first
        $ charlm verify runs comparison --json
    """
    from charlm.reporting.terminal.verification import print_verification
    from charlm.runs.verification import verify

    verification = verify(directories)
    if json:
        console.print_json(msgspec.to_builtins(verification))
    else:
        print_verification(verification)
    if not verification.intact:
        problems = [each.problems for each in verification.runs]
        problems += [each.problems for each in verification.results]
        kinds = {problem.kind for each in problems for problem in each}
        raise Exit(ConfigError.code if kinds == {"format"} else DataError.code)
