"""Command `charlm diff`."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.completion import complete_run
from charlm.cli.help import UNDERSTAND
from charlm.cli.options import (
    DEVICE,
    JSON,
    MOVED_CORPUS,
    QUIET,
    THREADS,
    TRUST_CELLS,
    check_runs_exist,
    make_progress,
)


def run_argument(name: str, text: str) -> Any:
    """Return the argument for one of the two runs."""
    return typer.Argument(
        metavar=name,
        help=text,
        show_default=False,
        callback=check_runs_exist,
        autocompletion=complete_run,
    )


@app.command(rich_help_panel=UNDERSTAND)
def diff(
    run_a: Annotated[Path, run_argument("RUN_A", "Directory of a run.")],
    run_b: Annotated[Path, run_argument("RUN_B", "Directory of the run to compare it with.")],
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="Text to read, instead of the test split that both runs share.",
            show_default=False,
        ),
    ] = None,
    passages: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Passages with the largest differences, each way.",
            min=0,
            max=100,
        ),
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="New page to write: the text in colors.", show_default=False
        ),
    ] = None,
    corpus: MOVED_CORPUS = None,
    trust_cell: TRUST_CELLS = None,
    device: DEVICE = "auto",
    threads: THREADS = 1,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Show where one run needs more bits than another, on the same text.

    Runs with different vocabularies can be compared: bits are code lengths of the same text.

    Examples:
        $ charlm diff runs/gru runs/lstm                  # on their test split
        $ charlm diff runs/gru runs/lstm chapter.txt --out diff.html
    """
    from charlm.comparison.difference import diff as diff_runs
    from charlm.execution.signals import raise_pending
    from charlm.reporting.html.difference import MAX_CHARACTERS, render_difference
    from charlm.reporting.terminal.difference import print_difference
    from charlm.results.difference import CharacterDifference
    from charlm.runs.run import Run
    from charlm.storage import files
    from charlm.testing.trusted_cells import find_cell_file

    raise_pending()
    if out is not None:
        files.check_new(out)
    beginning: list[CharacterDifference] = []
    a, b = Run(run_a), Run(run_b)
    for run in (a, b):
        run.load_custom_cell(find_cell_file(run, trust_cell or []))
    report = diff_runs(
        a,
        b,
        text,
        passages=passages,
        device=device,
        threads=threads,
        sources=corpus or (),
        per_char=beginning.extend if out else None,
        max_per_char=MAX_CHARACTERS,
        progress=make_progress(),
    )
    if out is not None:
        files.make_directory(out.absolute().parent)
        files.write_new(out, render_difference(report, beginning))
    if json:
        console.print_json(msgspec.to_builtins(report))
        return
    print_difference(report)
    if out is not None:
        console.print_result(f"\npage {out}")
