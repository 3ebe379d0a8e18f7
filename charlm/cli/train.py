"""Command `charlm train`."""

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from charlm import console
from charlm.cells.names import parse_custom_cell
from charlm.cli.app import app
from charlm.cli.completion import complete_run
from charlm.cli.config_file import CONFIG, PRESET
from charlm.cli.help import TRAIN
from charlm.cli.options import (
    JSON,
    LOG_EVERY,
    QUIET,
    TEXT,
    TRUST_CELL,
    add_config_options,
    check_runs_exist,
    make_progress,
)
from charlm.config import validate_config
from charlm.errors import ConfigError, Interrupted

DEFAULT_CORPUS = "python-source"


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
            help="Run to continue (TEXT: where its text is now).",
            show_default=False,
            callback=check_runs_exist,
            autocompletion=complete_run,
        ),
    ] = None,
    trust_cell: TRUST_CELL = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print size and time; train nothing.")
    ] = False,
    config_file: CONFIG = None,  # noqa: ARG001
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
    """
    if resume and run:
        raise ConfigError("cannot use --run and --resume together: --resume alone names the run")
    if trust_cell and not resume:
        raise ConfigError("--trust-cell is for --resume. Try --cell for a new run")
    if resume and dry_run:
        raise ConfigError("cannot use --dry-run with --resume: its settings are known")
    # Starting Python takes about as long as the CPU time that the process has used.
    started = time.monotonic() - time.process_time()
    config = validate_config(settings)  # before anything is imported
    from charlm.data.sources import make_paths_absolute
    from charlm.execution.jobs import is_worker
    from charlm.execution.signals import raise_pending
    from charlm.execution.torchrun import is_main_process
    from charlm.reporting.terminal.runs import print_run_report, print_run_summary
    from charlm.runs.run import check_not_existing, is_run
    from charlm.testing.trusted_cells import load_and_check_custom_cells
    from charlm.training import session
    from charlm.training.dry_run import plan_training

    raise_pending()
    settings = make_paths_absolute(settings)
    progress = make_progress(log_every)
    # The overview is measured, and nobody would read that of a worker.
    on_start = None if is_worker() else print_run_summary
    if resume:
        path = resume
    else:
        config = validate_config(settings)
        path = run or session.default_run_dir(config)
        if is_main_process():
            if not is_run(path):  # else it may be locked, which comes first
                check_not_existing(path)
            load_and_check_custom_cells([config.cell])
    try:
        if dry_run:
            summary = plan_training(
                text or DEFAULT_CORPUS, config, path, progress=progress, started=started
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
                progress=progress,
                on_start=on_start,
                started=started,
            )
    except Interrupted as error:
        hint = f"; continue with: charlm train --resume {shlex.quote(str(path))}"
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


def print_next_commands(path: Path, cell: str) -> None:
    """Print what to do with a finished run; one of a custom cell needs the file of that cell."""
    words = [str(path)]
    if parse_custom_cell(cell):
        words += ["--trust-cell", cell]
    arguments = shlex.join(words)
    console.print_message(f"next: charlm sample {arguments}")
    console.print_message(f"      charlm inspect {arguments}")
