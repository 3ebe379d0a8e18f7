"""Command `charlm doctor`."""

import msgspec
from typer.exceptions import Exit

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import HOUSE
from charlm.cli.options import JSON
from charlm.errors import ConfigError


@app.command(name="doctor", rich_help_panel=HOUSE)
def doctor_command(json: JSON = False) -> None:
    """Check versions, devices, compiler, cache and disk.

    Each problem is one line with a way out. The exit code is 78 if there is one. Environment
    variables and names of machine and user are not shown.

    Examples:
        $ charlm doctor
        $ charlm doctor --json   # for a bug report
    """
    from charlm.execution.diagnosis import diagnose
    from charlm.reporting.terminal.doctor import print_diagnosis

    diagnosis = diagnose()
    if json:
        console.print_json(msgspec.to_builtins(diagnosis))
    else:
        print_diagnosis(diagnosis)
    if diagnosis.problems:
        raise Exit(ConfigError.code)
