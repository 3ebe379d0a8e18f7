"""`charlm inspect`: show bits per character, units and gates of a run on a text."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.completion import complete_run
from charlm.cli.help import UNDERSTAND
from charlm.cli.options import (
    CHECKPOINT,
    JSON,
    MOVED_CORPUS,
    QUIET,
    RUN,
    TRUST_CELLS,
    check_runs_exist,
    make_progress,
)
from charlm.errors import ConfigError, InputNotFoundError, OutputExistsError, UsageError
from charlm.execution.signals import raise_pending

FILE_SUFFIXES = (
    *(".txt", ".md", ".rst", ".tex", ".html", ".xml", ".json", ".csv", ".py", ".c", ".log"),
    *(".gz", ".bz2", ".xz", ".zip"),
)
MAX_UNITS = 8  # of a page


@app.command(rich_help_panel=UNDERSTAND)
def inspect(
    run: RUN,
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_B",
            help="A second run, to show beside the first.",
            show_default=False,
            callback=check_runs_exist,
            autocompletion=complete_run,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="STRING",
            help="Text to read, instead of the beginning of the test split.",
        ),
    ] = None,
    file: Annotated[Path | None, typer.Option(metavar="PATH", help="File to read instead.")] = None,
    blank: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="Word of the text to replace by others like it: which characters behind it "
            "depend on it?",
        ),
    ] = None,
    occurrence: Annotated[
        int, typer.Option(metavar="N", help="Which of several such words, from 1.", min=1)
    ] = 1,
    units: Annotated[
        str,
        typer.Option(
            metavar="LAYER:UNIT,...",
            help="Units to show, counted from 1, at most 8; if not given, those that follow "
            "features of the text.",
        ),
    ] = "",
    other_units: Annotated[
        str, typer.Option(metavar="LAYER:UNIT,...", help="Units of the second run to show.")
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
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    corpus: MOVED_CORPUS = None,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELLS = None,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Show gates and units of a run at each character, on a page.

    A second run is shown beside it. With --blank: what depends on a word of the text.

    Examples:
        $ charlm inspect runs/code --open          # the beginning of its test split
        $ charlm inspect runs/gru runs/lstm        # two runs on one text
        $ charlm inspect runs/code --text "def add(a, b):" --units 1:7,1:31
        $ charlm inspect runs/code --text "The clouds are in the sky." --blank clouds
        $ charlm inspect runs/code --figure belt.svg     # state and gates
    """
    if open_page and json:
        raise ConfigError(
            "cannot use --open with --json: no page is written. Leave one of them out"
        )
    if other is None and other_units:
        raise ConfigError("cannot show --other-units: there is no second run. Try --units")
    if blank is None and occurrence != 1:
        raise ConfigError("cannot use --occurrence: no word is blanked. Try --blank WORD")
    requested, requested_other = (
        parse_units(words, option)
        for words, option in ((units, "--units"), (other_units, "--other-units"))
    )
    if text is not None:
        check_is_no_file(text)
    if figure is not None and figure.suffix != ".svg":
        raise UsageError(
            f"cannot write --figure {figure}: a figure is an SVG file. "
            f"Try --figure {figure.with_suffix('.svg')}"
        )
    if out.is_dir():
        raise OutputExistsError(
            f"cannot write {out}: it is a directory. Try --out {out / 'inspect.html'}"
        )
    from charlm.inspection.inspect_run import inspect as inspect_run
    from charlm.reporting.belt_figure import render_belt_svg
    from charlm.reporting.html.inspect import render_inspection
    from charlm.reporting.terminal.inspection import print_inspection
    from charlm.reporting.terminal.inspection_notes import print_inspection_notes
    from charlm.runs.run import Run
    from charlm.storage import files
    from charlm.testing.trusted_cells import find_cell_file

    raise_pending()
    opened = [Run(path) for path in (run, other) if path is not None]
    for each in opened:
        each.load_custom_cell(find_cell_file(each, trust_cell or []))
    report = inspect_run(
        opened[0],
        text,
        other=opened[1] if other is not None else None,
        file=file,
        blank=blank,
        occurrence=occurrence,
        units=requested,
        other_units=requested_other,
        checkpoint=checkpoint,
        sources=corpus or [],
        progress=make_progress(),
    )
    print_inspection_notes(report)
    if figure is not None:
        files.make_directory(figure.absolute().parent)
        files.write_atomic(figure, render_belt_svg(report))
    if json:
        console.print_json(msgspec.to_builtins(report))
        return
    files.make_directory(out.absolute().parent)
    files.write_atomic(out, render_inspection(report))
    print_inspection(report)
    console.print_result(f"page {out}")
    if figure is not None:
        console.print_result(f"figure {figure}")
    if open_page:
        open_in_browser(out)


def open_in_browser(page: Path) -> None:
    """Open a page in the browser of the user; raise ConfigError if there is none."""
    import webbrowser

    address = page.resolve().as_uri()
    if not webbrowser.open(address):
        raise ConfigError(
            f"cannot open {page}: no browser is found here. Try the address {address} in a "
            "browser, or name one in the environment variable BROWSER"
        )


def check_is_no_file(text: str) -> None:
    """Raise InputNotFoundError if a text is a path, or looks like the name of a text file."""
    is_word = not re.search(r"\s", text)
    looks_like_path = text.startswith(("/", "./", "../", "~/")) or text.endswith(FILE_SUFFIXES)
    if is_word and (looks_like_path or ("/" in text and Path(text).exists())):
        raise InputNotFoundError(
            f"cannot inspect the text {text}: it looks like the name of a file, and --text takes "
            f"the text itself. Try --file {text}"
        )


def parse_units(units: str, option: str) -> list[tuple[int, int]]:
    """Parse "2:31,1:7" to layers and units, without duplicates.

    Args:
        units: The words.
        option: Option that has them.

    Raises:
        UsageError: It has another form, or too many units.
    """
    words = [word.strip() for word in units.split(",")] if units else []
    for word in words:
        if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", word):
            raise UsageError(
                f"cannot read {option} {word}: it is not LAYER:UNIT, counted from 1. "
                f"Try {option} 1:7,2:31"
            )
    if len(words) > MAX_UNITS:
        raise UsageError(
            f"cannot show {len(words)} {option}: a page has room for {MAX_UNITS} at most"
        )
    pairs = (word.split(":") for word in words)
    return list(dict.fromkeys((int(layer), int(unit)) for layer, unit in pairs))
