"""`charlm inspect`: show bits per character, units and gates of a run on a text."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import UNDERSTAND
from charlm.cli.options import (
    CHECKPOINT,
    JSON,
    MOVED_CORPUS,
    QUIET,
    RUN,
    TRUST_CELL,
    make_progress,
)
from charlm.errors import ConfigError, InputNotFoundError
from charlm.execution.signals import raise_pending

FILE_SUFFIXES = (
    *(".txt", ".md", ".rst", ".tex", ".html", ".xml", ".json", ".csv", ".py", ".c", ".log"),
    *(".gz", ".bz2", ".xz", ".zip"),
)
MAX_UNITS = 8  # of a page


@app.command(rich_help_panel=UNDERSTAND)
def inspect(
    run: RUN,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="STRING",
            help="Text to read, instead of the beginning of the test split.",
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option(metavar="PATH", help="File to read instead.")] = None,
    units: Annotated[
        str,
        typer.Option(
            metavar="LAYER:UNIT,...",
            help="Units to show, counted from 1, at most 8; if not given, those that follow "
            "features of the text.",
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option(metavar="PATH", help="Page to write; an existing one is replaced.")
    ] = Path("inspect.html"),
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="SVG file to write: state and gates of the first units, at most 3."
        ),
    ] = None,
    corpus: MOVED_CORPUS = None,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Show gates and units of a run at each character, on a page.

    Examples:
        $ charlm inspect runs/code                 # the beginning of its test split
        $ charlm inspect runs/code --text "def add(a, b):" --units 1:7,1:31
        $ charlm inspect runs/code --figure belt.svg     # state and gates
    """
    requested_units = parse_units(units)
    if text is not None:
        check_is_no_file(text)
    if figure is not None and figure.suffix != ".svg":
        raise ConfigError(
            f"cannot write --figure {figure}: a figure is an SVG file. "
            f"Try --figure {figure.with_suffix('.svg')}"
        )
    from charlm.inspection.inspect_run import inspect as inspect_run
    from charlm.reporting.belt_figure import render_belt_svg
    from charlm.reporting.html.inspect import render_inspection
    from charlm.reporting.terminal.inspection import print_inspection
    from charlm.reporting.terminal.notes import print_unknown
    from charlm.runs.run import Run
    from charlm.storage import files

    raise_pending()
    opened = Run(run)
    opened.load_custom_cell(trust_cell)
    if text is not None:
        print_unknown(opened.vocabulary.find_unknown(text), "the text")
    report = inspect_run(
        opened,
        text,
        file=file,
        units=requested_units,
        checkpoint=checkpoint,
        sources=corpus or [],
        progress=make_progress(),
    )
    if figure is not None:
        files.write_atomic(figure, render_belt_svg(report))
    if json:
        console.print_json(msgspec.to_builtins(report))
        return
    files.write_atomic(out, render_inspection(report))
    print_inspection(report)
    console.print_result(f"page {out}")
    if figure is not None:
        console.print_result(f"figure {figure}")


def check_is_no_file(text: str) -> None:
    """Raise InputNotFoundError if a text is a path, or looks like the name of a text file."""
    is_word = not re.search(r"\s", text)
    looks_like_path = text.startswith(("/", "./", "../", "~/")) or text.endswith(FILE_SUFFIXES)
    if is_word and (looks_like_path or ("/" in text and Path(text).exists())):
        raise InputNotFoundError(
            f"cannot inspect the text {text}: it looks like the name of a file, and --text takes "
            f"the text itself. Try --file {text}"
        )


def parse_units(units: str) -> list[tuple[int, int]]:
    """Parse "2:31,1:7" to layers and units, without duplicates.

    Raises:
        ConfigError: It has another form, or too many units.
    """
    words = [word.strip() for word in units.split(",")] if units else []
    for word in words:
        if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", word):
            raise ConfigError(
                f"cannot read --units {word}: it is not LAYER:UNIT, counted from 1. "
                "Try --units 1:7,2:31"
            )
    if len(words) > MAX_UNITS:
        raise ConfigError(
            f"cannot show {len(words)} --units: a page has room for {MAX_UNITS} at most"
        )
    pairs = (word.split(":") for word in words)
    return list(dict.fromkeys((int(layer), int(unit)) for layer, unit in pairs))
