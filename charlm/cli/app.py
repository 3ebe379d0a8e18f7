"""Typer application of charlm: first page of help, version, and log messages."""

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.exceptions import Exit

from charlm import __version__, console
from charlm.errors import EXIT_CODES
from charlm.execution.torchrun import is_main_process

Command = Callable[..., None]


def simplify_help(parameters: list[Any]) -> list[Any]:
    """Remove from --help the types of arguments and switches, and ranges: errors name those."""
    for parameter in parameters:
        parameter._get_number_range_help_str = lambda: None
        if isinstance(parameter, TyperArgument):
            parameter._usage_display_name = partial(usage_name, parameter)  # type: ignore[method-assign]
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]  # noqa: ARG005
        elif isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return parameters


def usage_name(argument: TyperArgument) -> str:
    """Return an argument as the usage line shows it, such as RUN or [TEXT]..."""
    name = argument.metavar or argument.name or ""
    shown = name if argument.required else f"[{name}]"
    return shown if argument.nargs == 1 else f"{shown}..."


class PlainCommand(TyperCommand):
    """Command with short help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, for parsing and for --help."""
        return simplify_help(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """Group of commands with short help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, for parsing and for --help."""
        return simplify_help(super().get_params(ctx))


class CommandLine(typer.Typer):
    """Typer application whose commands all have short help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            cls=PlainGroup,
            context_settings={"help_option_names": ["-h", "--help"]},
            rich_markup_mode="rich",
            **options,
        )

    def command(  # type: ignore[override]
        self, name: str | None = None, **options: Any
    ) -> Callable[[Command], Command]:
        """Return a decorator that makes a function a command."""
        return super().command(name, cls=PlainCommand, **options)


app = CommandLine(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

EXIT_CODE_HELP = "\b\n" + "\n".join(  # \b: keep the line breaks
    ["Exit codes:", *(f"{code:<5}{meaning}" for code, meaning in EXIT_CODES.items())]
)
HELP = """Train character language models with recurrent cells, and compare the cells.

charlm train                      train a model on Python's documentation

charlm sample RUN --prompt "The"  generate text with it

charlm eval RUN                   compute its exact bits per character

charlm inspect RUN                show its gates, character by character

charlm probe RUN                  measure how far back it remembers

charlm compare-cells              compare RNN, GRU and LSTM at equal size

charlm cells                      list the cells, or check one of your own

charlm tasks                      train and compare cells on memory tasks
"""


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


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        python = sys.version.split()[0]
        console.print_result(f"charlm {__version__}, torch {version('torch')}, Python {python}")
        raise Exit


@app.callback(help=HELP, epilog=EXIT_CODE_HELP)
def main_callback(
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Prepare every command."""
    install_log_handler()
