"""`charlm metrics`: metrics of runs as CSV, or for TensorBoard."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import to_builtins

from charlm import console
from charlm.cli.app import app
from charlm.cli.completion import complete_run
from charlm.cli.help import HOUSE
from charlm.cli.options import JSON, check_directories_exist
from charlm.errors import ConfigError
from charlm.storage import directories, files

if TYPE_CHECKING:
    from charlm.results.metrics import EventFiles, RunsMetrics


@app.command(name="metrics", rich_help_panel=HOUSE)
def metrics_command(
    directories: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Runs, or directories with runs or comparisons in them.",
            show_default=False,
            callback=check_directories_exist,
            autocompletion=complete_run,
        ),
    ],
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="New directory for event files of TensorBoard, instead of CSV.",
            show_default=False,
        ),
    ] = None,
    json: JSON = False,
) -> None:
    """Print the metrics of runs as CSV, or write them for TensorBoard.

    Loss, gradient norm and learning rate of each step, and all validations, also of a run that is
    still trained. TensorBoard needs pip install 'charlm[tensorboard]'; training never does.

    Examples:
        $ charlm metrics runs/code > metrics.csv
        $ charlm metrics runs --tensorboard logs    # then tensorboard --logdir logs
    """
    if tensorboard is not None:
        if find_spec("tensorboard") is None:
            raise ConfigError(
                "cannot use --tensorboard: TensorBoard is not installed. Try pip install "
                "'charlm[tensorboard]'"
            )
        files.check_new(tensorboard, "--tensorboard")
    from charlm.reporting.tables.metrics import render_metrics_csv
    from charlm.runs.scalars import load_metrics

    metrics = load_metrics(directories)
    if tensorboard is not None:
        written = write_event_files(metrics, tensorboard)
        if json:
            console.print_json(to_builtins(written))
        else:
            console.print_result("\n".join(str(tensorboard / run) for run in written.runs))
    elif json:
        console.print_json(to_builtins(metrics))
    else:
        console.print_result(render_metrics_csv(metrics).rstrip("\n"), verbatim=True)


def write_event_files(metrics: "RunsMetrics", out: Path) -> "EventFiles":
    """Write the metrics of runs into a new directory, all or none."""
    from charlm.results.metrics import EventFiles
    from charlm.runs.tensorboard_events import FILE_NAME, render_events

    contents = {f"{run.run}/{FILE_NAME}": render_events(run) for run in metrics.runs}
    files.make_directory(out.absolute().parent)
    directories.write_directory_atomic(out.absolute(), contents)
    return EventFiles(
        out=str(out),
        runs=tuple(run.run for run in metrics.runs),
        scalars=sum(len(run.scalars) for run in metrics.runs),
    )
