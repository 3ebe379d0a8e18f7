"""All commands, and how errors of their parser become errors of charlm."""
# ruff: noqa: I001 (--help lists the commands in the order of these imports)

import signal

from typer.exceptions import Abort, TyperException

from charlm.cli.app import app
from charlm.cli import train as train
from charlm.cli import eval as eval
from charlm.cli import sample as sample
from charlm.cli import inspect as inspect
from charlm.cli import probe as probe
from charlm.cli import compare as compare
from charlm.cli import cells as cells
from charlm.cli import tasks as tasks
from charlm.errors import Interrupted, UsageError


def run_command() -> int:
    """Run the command of `sys.argv` and return its exit code.

    Raises:
        UsageError: An option or argument is wrong.
        Interrupted: The command was aborted.
    """
    try:
        return app(standalone_mode=False, prog_name="charlm") or 0
    except Abort as error:
        raise Interrupted(signal.SIGINT) from error
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help is already shown
            return error.exit_code
        command = getattr(getattr(error, "ctx", None), "command_path", "charlm")
        problem = " ".join(error.format_message().split()).rstrip(".")
        end = "" if problem.endswith("?") else "."
        raise UsageError(f"{problem}{end} Try '{command} --help'") from None
