"""Command `charlm train`."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from charlm import console
from charlm.cells.names import parse_custom_cell
from charlm.cli.app import app
from charlm.cli.completion import complete_run
from charlm.cli.config_file import CONFIG, PRESET
from charlm.cli.help import TRAIN
from charlm.cli.options import (
    INIT_FROM,
    JSON,
    LOG_EVERY,
    QUIET,
    TEXT,
    TRUST_CELL,
    add_config_options,
    check_runs_exist,
    make_progress,
)
from charlm.config import BUDGETS, validate_config
from charlm.config_file import InitialRun, read_initial_run
from charlm.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from charlm.training.initial_weights import WeightSource

DEFAULT_CORPUS = "python-source"
RUN_AND_RESUME = (
    "cannot use --run and --resume together: --resume alone names the run. Try --resume alone, or "
    "with a larger budget, which makes a new run"
)


@app.command(name="train", rich_help_panel=TRAIN)
@add_config_options()
def train_command(
    settings: dict[str, Any],
    text: TEXT = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Directory of the new run. [default: runs/CELL-TIME]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run to continue (TEXT: its text now); with a larger budget as a new run, from "
            "before its decay.",
            show_default=False,
            callback=check_runs_exist,
            autocompletion=complete_run,
        ),
    ] = None,
    init_from: INIT_FROM = None,
    trust_cell: TRUST_CELL = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print size and time; train nothing.")
    ] = False,
    config_file: CONFIG = None,
    preset: PRESET = "",  # noqa: ARG001
    log_every: LOG_EVERY = 10.0,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Train a character language model on a text.

    Examples:
        $ charlm train                                   # Python's source code
        $ charlm train book.txt --minutes 10 --cell gru  # a GRU, in ten minutes
        $ charlm train src/ --glob '**/*.py' --run runs/code
        $ charlm train --resume runs/code                # go on where it stopped
        $ charlm train --resume runs/code --epochs 10    # longer than it was meant to
        $ charlm train mine.py --init-from runs/code     # its weights, another text
    """
    if resume and init_from:
        raise ConfigError(
            "cannot use --resume and --init-from together: a run that is continued has weights. "
            "Try one of them"
        )
    if trust_cell and not (resume or init_from):
        raise ConfigError("--trust-cell is for --resume and --init-from. Try --cell for a new run")
    if resume and dry_run:
        raise ConfigError("cannot use --dry-run with --resume: its settings are known")
    # Starting Python takes about as long as the CPU time that the process has used.
    started = time.monotonic() - time.process_time()
    validate_config(settings)  # before anything is imported
    if resume and run and not any(settings.get(name) for name in BUDGETS):
        raise ConfigError(RUN_AND_RESUME)
    from charlm.data.sources import make_paths_absolute
    from charlm.execution.parent_process import is_worker
    from charlm.execution.signals import raise_pending
    from charlm.execution.torchrun import is_main_process
    from charlm.reporting.terminal.runs import print_run_report, print_run_summary
    from charlm.runs.creation import check_not_existing
    from charlm.runs.run import is_run
    from charlm.testing.trusted_cells import load_and_check_custom_cells
    from charlm.training import session
    from charlm.training.dry_run import plan_training

    raise_pending()
    settings = make_paths_absolute(settings)
    progress = make_progress(log_every)
    # The overview is measured, and nobody would read that of a worker.
    on_start = None if is_worker() else print_run_summary
    source = None
    if resume:
        path = session.resumed_dir(resume, settings, run)
    else:
        if init_from:
            source = open_source(init_from, settings, trust_cell, config_file)
        config = source.config if source else validate_config(settings)
        path = run or session.default_run_dir(config)
        if is_main_process():
            if not is_run(path):  # else it may be locked, which comes first
                check_not_existing(path)
            load_and_check_custom_cells([config.cell])
    try:
        if dry_run:
            summary = plan_training(
                text or DEFAULT_CORPUS,
                config,
                path,
                init_from=source,
                progress=progress,
                started=started,
            )
            if json:
                console.print_json(msgspec.to_builtins(summary))
            else:
                print_run_summary(summary)
            return
        if resume:
            finished = session.resume_training(
                resume,
                text or (),
                overrides=settings,
                longer_dir=run,
                trust_cell=trust_cell,
                progress=progress,
                on_start=on_start,
                started=started,
            )
        else:
            finished = session.train(
                text or DEFAULT_CORPUS,
                config,
                path,
                init_from=source,
                progress=progress,
                on_start=on_start,
                started=started,
            )
    except Interrupted as error:
        resume_command = console.shell_command(["charlm", "train", "--resume", path])
        hint = f"; continue with: {resume_command}"
        raise Interrupted(
            error.signal, f"{error}{hint if (path / 'run.json').exists() else ''}"
        ) from None
    report = finished.report
    if report is None or not is_main_process():
        return
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_run_report(report)
        print_next_commands(finished.path, trust_cell or finished.record.config.cell)


def open_source(
    init_from: Path, settings: dict[str, Any], trust_cell: str, config_file: Path | None
) -> "WeightSource":
    """Read the weights that a new run starts from; those of --config RUN must be its own ones."""
    from charlm.training.initial_weights import open_weight_source

    named = read_initial_run(config_file) if config_file else InitialRun()
    is_same = os.path.abspath(named.run) == os.path.abspath(init_from)
    return open_weight_source(
        init_from,
        settings,
        trust_cell=trust_cell,
        weights_sha256=named.weights_sha256 if is_same else "",
    )


def print_next_commands(path: Path, cell: str) -> None:
    """Print what to do with a finished run; one of a custom cell needs the file of that cell."""
    words: list[str | Path] = [path]
    if parse_custom_cell(cell):
        words += ["--trust-cell", cell]
    for start, command in (("next: ", "sample"), ("      ", "inspect")):
        line = console.shell_command(["charlm", command, *words])
        console.print_message(start + line, verbatim=True)
