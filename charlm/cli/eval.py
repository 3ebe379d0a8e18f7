"""Command `charlm eval`."""

from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import TRAIN
from charlm.cli.options import (
    CHECKPOINT,
    DEVICE,
    JSON,
    KERNEL,
    MOVED_CORPUS,
    QUIET,
    RUN,
    THREADS,
    TRUST_CELL,
    make_progress,
)
from charlm.errors import ConfigError, InputNotFoundError


@app.command(name="eval", rich_help_panel=TRAIN)
def eval_command(
    run: RUN,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="Text to score whole instead of a split.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="Split to score: test, valid or train. [default: test]",
            show_default=False,
        ),
    ] = None,
    corpus: MOVED_CORPUS = None,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    kernel: KERNEL = "auto",
    device: DEVICE = "auto",
    threads: THREADS = 1,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Score a text exactly, in bits per character.

    Every character is read once, as one stream: the state is carried on from one file to the next.
    Where a run has --test-chars, the test split is excerpts of its files.

    Examples:
        $ charlm eval runs/code                   # its test split
        $ charlm eval runs/code other.txt --json  # another text, as JSON
    """
    if text is not None and split is not None:
        raise ConfigError(
            "cannot score a split of another text: TEXT is scored whole. Try without --split"
        )
    if run.is_file():
        raise InputNotFoundError(
            f"cannot open {run}: it is a file, not a run. Try charlm eval RUN {run}"
        )
    from charlm.evaluation.evaluate import evaluate
    from charlm.execution.signals import raise_pending
    from charlm.reporting.terminal.runs import print_score
    from charlm.runs.run import load_run

    raise_pending()
    report = evaluate(
        load_run(run, trust_cell),
        split or "test",
        text=text,
        checkpoint=checkpoint,
        kernel=kernel,
        device=device,
        threads=threads,
        sources=corpus or (),
        progress=make_progress(),
    )
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_score(report)
