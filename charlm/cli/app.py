"""Typer application of charlm: commands, first page of help, version, exit codes, messages."""

import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from msgspec import to_builtins
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import Exit

from charlm import __version__, console
from charlm.cli.help import HOUSE, help_page
from charlm.cli.suggestions import did_you_mean, suggest_commands
from charlm.errors import EXIT_CODES, UsageError
from charlm.execution.torchrun import is_main_process
from charlm.results.program import ExitCodeList, ExitCodeSummary, VersionReport

Command = Callable[..., None]


class PlainCommand(TyperCommand):
    """Command with a compact page of help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(help_page(self, ctx) + "\n")


class PlainGroup(TyperGroup):
    """Group of commands with a compact page of help, and suggestions for unknown commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and remaining arguments.

        Raises:
            UsageError: There is no such command.
        """
        name = args[0]
        if not name.startswith("-") and name not in self.commands and not ctx.resilient_parsing:
            near = did_you_mean(suggest_commands(name, list(self.commands)))
            raise UsageError(
                f"no such command: {ctx.command_path} {name}. {near}Try '{ctx.command_path} --help'"
            )
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(help_page(self, ctx) + "\n")


class CommandLine(typer.Typer):
    """Typer application whose commands all have compact pages of help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            cls=PlainGroup,
            context_settings={"help_option_names": ["-h", "--help"]},
            rich_markup_mode=None,
            suggest_commands=False,  # charlm.cli.suggestions does it, and knows synonyms
            **options,
        )

    def command(  # type: ignore[override]
        self, name: str | None = None, **options: Any
    ) -> Callable[[Command], Command]:
        """Return a decorator that makes a function a command."""
        return super().command(name, cls=PlainCommand, **options)


app = CommandLine(no_args_is_help=True, pretty_exceptions_enable=False)

HELP = """Train character language models with recurrent cells, and compare the cells.

Examples:
    $ charlm train --minutes 2 --run runs/first  # a model of Python's source
    $ charlm sample runs/first -p "def "         # text that it writes
    $ charlm inspect runs/first                  # its gates at each character
    $ charlm compare-cells --dry-run             # what a comparison takes
"""
EPILOG = "charlm COMMAND --help describes a command, charlm exit-codes its exit codes."


class ConsoleHandler(logging.Handler):
    """Log handler that prints the bare message on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, with control characters escaped."""
        console.print_message(record.getMessage())


def install_log_handler() -> None:
    """Show the messages of charlm on stderr; of several processes only those of rank 0."""
    logger = logging.getLogger("charlm")
    logger.handlers = [ConsoleHandler() if is_main_process() else logging.NullHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False


@app.callback(help=HELP, epilog=EPILOG, invoke_without_command=True)
def main_callback(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of charlm, PyTorch and Python.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the version as JSON.")] = False,
) -> None:
    """Prepare every command."""
    install_log_handler()
    console.set_quiet(False)
    if version:
        print_version(json)
        raise Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")
    if json:
        context.fail(f"--json stands after {context.invoked_subcommand}.")


def print_version(json: bool) -> None:
    """Print the versions of charlm, PyTorch and Python."""
    from importlib.metadata import version

    report = VersionReport(
        charlm=__version__, torch=version("torch"), python=sys.version.split()[0]
    )
    if json:
        console.print_json(to_builtins(report))
    else:
        console.print_result(f"charlm {__version__}, torch {report.torch}, Python {report.python}")


@app.command(name="exit-codes", rich_help_panel=HOUSE)
def exit_codes(
    json: Annotated[bool, typer.Option("--json", help="Print them as JSON on one line.")] = False,
) -> None:
    """List the exit codes of all commands.

    With --json, a command that fails prints one line on stdout: {"error": {"code": NAME,
    "exit_code": NUMBER, "message": TEXT}}. Its NAME is that of the list.

    Examples:
        $ charlm exit-codes
        $ charlm exit-codes --json
    """
    codes = ExitCodeList(
        tuple(
            ExitCodeSummary(exit_code=number, code=code.name, meaning=code.meaning)
            for number, code in EXIT_CODES.items()
        )
    )
    if json:
        console.print_json(to_builtins(codes))
    else:
        for code in codes.exit_codes:
            console.print_result(f"{code.exit_code:>3}  {code.code:<14} {code.meaning}")
