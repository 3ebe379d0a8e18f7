"""Command `charlm reproduce`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.completion import complete_anchor
from charlm.cli.help import COMPARE
from charlm.cli.options import JSON, LOG_EVERY, QUIET, make_progress
from charlm.errors import UsageError
from charlm.execution.signals import raise_pending
from charlm.results.reproduction import AnchorSummary


@app.command(name="reproduce", rich_help_panel=COMPARE)
def reproduce_command(
    anchors: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ANCHOR",
            help="Published numbers to measure. [default: all that need no text]",
            autocompletion=complete_anchor,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Directory of runs and report.json.")
    ] = Path("anchors"),
    seeds: Annotated[int, typer.Option(metavar="N", help="Seeds of each number.", min=1)] = 3,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ANCHOR=FILE",
            help="Text of an anchor that needs one; may be repeated. [default: its corpus]",
            show_default=False,
        ),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Print all anchors with their times; measure nothing.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the result as a page of Markdown.")
    ] = False,
    log_every: LOG_EVERY = 10.0,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Measure published numbers again, and print ours beside them.

    The same command continues where it was stopped. A number that is not met stays in the table.

    Examples:
        $ charlm reproduce --list              # what there is, and how long it takes
        $ charlm reproduce parity --seeds 1    # signed eigenvalues solve parity
        $ charlm reproduce nanogpt --text nanogpt=input.txt
        $ charlm reproduce --markdown > anchors.md
    """
    from charlm.reporting.tables.anchors import render_anchors
    from charlm.reporting.terminal.anchors import print_anchor_list, print_anchors
    from charlm.reproduction.reproduce import list_anchors, reproduce

    raise_pending()
    texts = dict(map(_parse_text, text or ()))
    if list_only:
        listing = list_anchors()
        if json:
            console.print_json(msgspec.to_builtins(listing))
        else:
            print_anchor_list(listing)
        return
    chosen = [anchor for anchor in list_anchors().anchors if is_chosen(anchor, anchors, texts)]
    minutes = seeds * sum(anchor.minutes for anchor in chosen)
    console.print_message(
        f"measuring {', '.join(anchor.name for anchor in chosen)}: about {minutes:,.0f} minutes on "
        "one core, less what is done"
    )
    report = reproduce(
        anchors or (), out, seeds=seeds, texts=texts, progress=make_progress(log_every)
    )
    if json:
        console.print_json(msgspec.to_builtins(report))
    elif markdown:
        console.print_result(render_anchors(report).rstrip("\n"))
    else:
        print_anchors(report)


def is_chosen(anchor: AnchorSummary, names: Sequence[str] | None, texts: Mapping[str, str]) -> bool:
    """Return whether an anchor is measured: all without a text, or those that are named."""
    named = {*(names or ()), *texts}
    return anchor.name in named if named else not anchor.text


def _parse_text(value: str) -> tuple[str, str]:
    """Return anchor and file of ANCHOR=FILE.

    Raises:
        UsageError: The text is something else.
    """
    name, separator, file = value.partition("=")
    if not (name and separator and file):
        raise UsageError(
            f"cannot use --text {value}: it is not ANCHOR=FILE. Try --text nanogpt=input.txt"
        )
    return name, file
