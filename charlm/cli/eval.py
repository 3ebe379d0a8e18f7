"""Command `charlm eval`."""

from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.options import (
    CHECKPOINT,
    DEVICE,
    JSON,
    KERNEL,
    MOVED_CORPUS,
    RUN,
    THREADS,
    TRUST_CELL,
)
from charlm.errors import ConfigError, InputNotFoundError


@app.command(name="eval")
def eval_command(
    run: RUN,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="File, directory or named corpus that is scored whole instead of a split.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="Split of the run's corpus: test, valid or train. \\[default: test]",
            show_default=False,
        ),
    ] = None,
    corpus: MOVED_CORPUS = None,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    kernel: KERNEL = "auto",
    device: DEVICE = "auto",
    threads: THREADS = 1,
    json: JSON = False,
) -> None:
    """Score a text exactly: every character once, as one stream.

    The state is carried on from one file to the next. Where a run has --test-chars, the test split
    is the beginnings of its files.

    charlm eval runs/code

    charlm eval runs/code other.txt --json
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
    from charlm.reporting.terminal.progress import TerminalProgress
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
        progress=TerminalProgress(log_every=10.0),
    )
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_score(report)
