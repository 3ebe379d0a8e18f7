"""The program's name, version and first page of help."""

import sys
from typing import Annotated

import typer
from typer.exceptions import Exit

from charlm import __version__, console
from charlm.errors import EXIT_CODES

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as version_of

        python = sys.version.split()[0]
        console.print_result(f"charlm {__version__}, torch {version_of('torch')}, Python {python}")
        raise Exit


EXIT_CODE_HELP = ", ".join(
    f"{code} {meaning.split(':')[0]}" for code, meaning in EXIT_CODES.items()
)
HELP = f"""Train character language models with recurrent cells of every kind, and compare them.

charlm train                      a model of Python's own documentation

charlm sample RUN --prompt "The"  let it write

charlm eval RUN                   its exact bits per character

charlm inspect RUN                its gates, character by character

charlm probe RUN                  how far back it remembers

charlm compare-cells              RNN, GRU and LSTM at equal parameters

charlm cells                      every cell there is; and one of your own

charlm tasks                      synthetic tasks that ask for memory alone

Exit codes: {EXIT_CODE_HELP}.
"""


@app.callback(help=HELP)
def main_callback(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    pass
