"""`charlm compare-cells`: compare cells on a text, or existing runs."""

import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer
from msgspec import to_builtins

from charlm import console
from charlm.cli.app import app
from charlm.cli.comparison_options import (
    BASELINES,
    CELLS,
    CLUSTER_JOBS,
    DEFAULT_BASELINE_NAMES,
    DEFAULT_CELL_NAMES,
    EXECUTOR,
    LR_RANGE,
    MARGIN,
    MATCH,
    MEMORY,
    MINUTES,
    PARAMS,
    PROFILED_TASKS,
    RAY_ADDRESS,
    REFERENCE_CELL,
    SEEDS,
    TRIALS,
)
from charlm.cli.config_file import CONFIG
from charlm.cli.help import COMPARE
from charlm.cli.options import (
    DRY_RUN,
    JSON,
    LOG_EVERY,
    QUIET,
    TEXT,
    TRUST_CELLS,
    add_config_options,
    check_no_missing_run,
    make_progress,
)
from charlm.comparison.request import (
    DEFAULT_CHARACTERS,
    DEFAULT_MARGIN,
    DEFAULT_PARAMS,
    DEFAULT_SEEDS,
    DEFAULT_SETTINGS,
    DEFAULT_TEXT,
    OWN_SETTINGS,
    ComparisonRequest,
    is_run_list,
    parse_baselines,
    split_names,
    validate_executor,
)
from charlm.config import Config, option_name
from charlm.data.sources import make_paths_absolute
from charlm.errors import ConfigError
from charlm.execution.signals import raise_pending

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from charlm.execution.executor import Execution
    from charlm.results.comparison import ComparisonResult

# Options that have a meaning for existing runs.
RUN_OPTIONS = {
    *("texts", "reference", "margin", "out", "jobs", "log_every", "memory", "json", "device"),
    *("tasks", "trust_cell", "config_file"),
    "quiet",
}
GIVEN = ("COMMANDLINE", "DEFAULT_MAP")  # sources of options that have not their default
# Defaults of a comparison where they are not those of a run.
SHOWN_DEFAULTS = {
    **DEFAULT_SETTINGS,
    "characters": DEFAULT_CHARACTERS,
    "eval_every": "a 5th of the run",
    "block": "none; residual for all where some cells are linear in their state",
}


@app.command(name="compare-cells", rich_help_panel=COMPARE)
@add_config_options(*OWN_SETTINGS, "threads", defaults=SHOWN_DEFAULTS, by_reference=True)
def compare_cells(
    context: typer.Context,
    settings: dict[str, Any],
    texts: TEXT = None,
    cells: CELLS = DEFAULT_CELL_NAMES,
    reference: REFERENCE_CELL = "",
    margin: MARGIN = DEFAULT_MARGIN,
    seeds: SEEDS = DEFAULT_SEEDS,
    match: MATCH = "params",
    params: PARAMS = DEFAULT_PARAMS,
    minutes: MINUTES = 0.0,
    trials: TRIALS = 0,
    lr_range: LR_RANGE = "",
    baselines: BASELINES = DEFAULT_BASELINE_NAMES,
    memory: MEMORY = True,
    tasks: PROFILED_TASKS = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory of the comparison.")] = Path(
        "comparison"
    ),
    dry_run: DRY_RUN = False,
    jobs: CLUSTER_JOBS = 0,
    executor: EXECUTOR = "local",
    ray_address: RAY_ADDRESS = "",
    trust_cell: TRUST_CELLS = None,
    config_file: CONFIG = None,  # noqa: ARG001
    log_every: LOG_EVERY = 10.0,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Compare cells on one text: prediction and memory.

    Examples:
        $ charlm compare-cells --dry-run                  # what the default takes
        $ charlm compare-cells book.txt --minutes 20      # in twenty minutes
        $ charlm compare-cells book.txt --cells gru,lstm,my_cell.py:Mine
        $ charlm compare-cells book.txt --trials 12 --out tuned
        $ charlm compare-cells runs/mine runs/yours       # runs that exist

    Each run reads as many characters, by the recipe of its cell (docs/explanation/recipes.md).
    Two further runs of each cell, at half and twice its learning rate, show whether
    the recipe fits the text. The same command continues where it was stopped. More
    cells or seeds reuse what is done.

    With --trials, each seed of each cell is tuned by itself, on the validation
    split: learning rates are crossed with forget biases. All trials are trained for
    a quarter of the steps, the best third of them for all.

    Existing runs are compared as they are, if they were scored alike. Their memory is
    measured if their text is still there.
    """
    device = str(settings.get("device", Config().device))
    check_no_missing_run(texts or [])
    where = ExecutionOptions(out, executor, ray_address, device, jobs, log_every)
    if is_run_list(texts or []):
        check_run_options(_explicit_options(context), texts or [])
        result = compare_existing_runs(
            texts or [], reference, margin, memory, tasks or [], trust_cell, where
        )
    else:
        if trust_cell:
            raise ConfigError("cannot use --trust-cell: there are no existing runs. Try --cells")
        request = ComparisonRequest(
            texts=tuple(texts or [DEFAULT_TEXT]),
            cells=tuple(split_names(cells)),
            settings=make_paths_absolute(settings),
            params=params,
            match=match,
            seeds=seeds,
            minutes=minutes,
            reference=reference,
            margin=margin,
            trials=trials,
            lr_range=lr_range,
            baselines=parse_baselines(baselines),
            memory=memory,
            tasks=tuple(tasks or ()),
        )
        times_cells = dry_run or match == "time" or bool(minutes)
        validate_executor(executor, ray_address, times_cells=times_cells)
        if dry_run:
            print_dry_run(request, where, json)
            return
        result = compare_on_text(request, where)
    if json:
        console.print_json(to_builtins(result.report))
    else:
        from charlm.reporting.terminal.comparison import print_comparison

        print_comparison(result.report, result.timing)
    console.print_message(f"results are in {out}: report.html, report.json and timing.json")


class ExecutionOptions(NamedTuple):
    """Options that say where runs are made and how progress is shown."""

    out: Path
    executor: Literal["local", "ray"]
    ray_address: str
    device: str
    jobs: int
    log_every: float

    def open(self, kind: Literal["text", "runs"]) -> "AbstractContextManager[Execution]":
        """Lock the directory and return the execution, as a context manager."""
        from charlm.comparison.directory import open_comparison

        return open_comparison(
            self.out,
            kind,
            executor=self.executor,
            ray_address=self.ray_address,
            device=self.device,
            jobs=self.jobs,
            progress=make_progress(self.log_every),
        )


def compare_on_text(request: ComparisonRequest, where: ExecutionOptions) -> "ComparisonResult":
    """Do a comparison, and write its page."""
    from charlm.comparison.compare import run_comparison
    from charlm.reporting.terminal.comparison import print_comparison_overview

    raise_pending()
    with where.open("text") as execution:
        result = run_comparison(request, execution, _command(), print_comparison_overview)
        _write_page(result, where.out)
    return result


def print_dry_run(request: ComparisonRequest, where: ExecutionOptions, json: bool) -> None:
    """Print what a comparison would take."""
    from charlm.comparison.preparation import dry_run
    from charlm.reporting.terminal.cost_estimate import print_cost_estimate
    from charlm.reporting.terminal.tables import print_insufficient_data

    raise_pending()
    progress = make_progress(where.log_every)
    estimate = dry_run(request, where.out, device=where.device, jobs=where.jobs, progress=progress)
    if json:
        print_insufficient_data(estimate.insufficient)
        console.print_json(to_builtins(estimate))
    else:
        print_cost_estimate(estimate)


def compare_existing_runs(
    directories: Sequence[str],
    reference: str,
    margin: float,
    memory: bool,
    tasks: Sequence[str],
    trust_cells: Sequence[str] | None,
    where: ExecutionOptions,
) -> "ComparisonResult":
    """Compare existing runs, and write the page."""
    from charlm.comparison.compare_runs import compare_runs

    raise_pending()
    with where.open("runs") as execution:
        result = compare_runs(
            directories,
            execution,
            reference=reference,
            margin=margin,
            memory=memory,
            tasks=tasks,
            trust_cells=trust_cells or (),
            command=_command(),
        )
        _write_page(result, where.out)
    return result


def check_run_options(options: Set[str], directories: Sequence[str]) -> None:
    """Raise ConfigError if an option is given that has no meaning for existing runs."""
    for name in sorted(options - RUN_OPTIONS):
        raise ConfigError(
            f"cannot use {option_name(name)}: it is for runs that are yet to be trained, and "
            f"{directories[0]} exists. Try without it"
        )


def _explicit_options(context: typer.Context) -> set[str]:
    """Return the names of the options that were given, on the command line or by --config."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name in GIVEN}


def _command() -> str:
    return console.shell_command(["charlm", *sys.argv[1:]])


def _write_page(result: "ComparisonResult", out: Path) -> None:
    """Write report.html, and memory.svg where memory was measured."""
    from charlm.reporting.html.comparison import render_comparison
    from charlm.reporting.memory_figure import render_memory_svg
    from charlm.storage import files

    files.write_atomic(out / "report.html", render_comparison(result))
    if figure := render_memory_svg(result.report):
        files.write_atomic(out / "memory.svg", figure)
