"""`charlm tasks`: list, show, train and compare on synthetic memory tasks."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from msgspec import to_builtins

from charlm import console
from charlm.cli.app import CommandLine, app
from charlm.cli.comparison_options import (
    CELLS,
    CLUSTER_JOBS,
    DEFAULT_CELL_NAMES,
    EXECUTOR,
    PARAMS,
    RAY_ADDRESS,
)
from charlm.cli.completion import complete_task
from charlm.cli.config_file import CONFIG
from charlm.cli.help import CELLS_AND_TASKS
from charlm.cli.options import (
    DRY_RUN,
    JSON,
    LOG_EVERY,
    QUIET,
    add_config_options,
    make_progress,
)
from charlm.comparison.request import (
    DEFAULT_PARAMS,
    DEFAULT_SEEDS,
    split_names,
    validate_executor,
)
from charlm.config import DEFAULT_MAX_STEPS, TEXT_ONLY_FIELDS, Config, validate_config
from charlm.errors import ConfigError
from charlm.execution.signals import raise_pending

TASK = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="Name of a task; see charlm tasks list.",
        autocompletion=complete_task,
    ),
]
LENGTHS = Annotated[
    str,
    typer.Option(
        metavar="N..N",
        help="Lengths to train at: 10..100 (10, 20, 50, 100) or 10,30.",
        show_default=False,
    ),
]
TASK_DEFAULTS = {"max_steps": DEFAULT_MAX_STEPS, "eval_every": 50}
MAX_EXAMPLE_LENGTH = 10**6

tasks_app = CommandLine()
app.add_typer(tasks_app, name="tasks", rich_help_panel=CELLS_AND_TASKS)


@tasks_app.callback(invoke_without_command=True)
def tasks(context: typer.Context, json: JSON = False) -> None:
    """Measure memory on synthetic tasks with exact chance.

    Examples:
        $ charlm tasks                      # all of them, with chance and oracle
        $ charlm tasks show copy            # an example with its answers
        $ charlm tasks train copy --lengths 10..100 --run runs/copy
        $ charlm tasks compare copy --lengths 10..100 --out copy
    """
    if context.invoked_subcommand is None:
        list_tasks(json)
    elif json:
        raise ConfigError(
            f"cannot use --json there. Try charlm tasks {context.invoked_subcommand} … --json"
        )


@tasks_app.command(name="list")
def list_tasks(json: JSON = False) -> None:
    """List all tasks, with the question that each answers.

    Examples:
        $ charlm tasks list
        $ charlm tasks list --json   # with sources, chance and oracles
    """
    from charlm.reporting.terminal.tasks import print_task_list
    from charlm.results.tasks import TaskList
    from charlm.tasks.base import TASKS

    raise_pending()
    task_list = TaskList(tasks=tuple(task.documentation for task in TASKS.values()))
    if json:
        console.print_json(to_builtins(task_list))
    else:
        print_task_list(task_list.tasks)


@tasks_app.command(name="show")
def show_task(
    name: TASK,
    length: Annotated[
        int, typer.Option(metavar="N", help="Length of the example.", min=1, max=MAX_EXAMPLE_LENGTH)
    ] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the example.", min=0)] = 0,
    json: JSON = False,
) -> None:
    """Describe a task and show a sequence with its answers.

    Examples:
        $ charlm tasks show copy --length 8
    """
    from charlm.reporting.terminal.tasks import print_task
    from charlm.tasks.base import TASKS, make_example
    from charlm.tasks.lengths import check_length
    from charlm.tasks.scoring import TEST_SEQUENCES, score_oracle

    raise_pending()
    task = TASKS[name]
    check_length(length, f"--length {length}", task.min_length, task.max_length)
    oracle = score_oracle(task, length, "test", TEST_SEQUENCES)
    example = make_example(task, length, seed, oracle)
    if json:
        console.print_json(to_builtins(example))
    else:
        print_task(example)


@tasks_app.command(name="train")
@add_config_options(*TEXT_ONLY_FIELDS, defaults=TASK_DEFAULTS, by_reference=True)
def train_task(
    settings: dict[str, Any],
    name: TASK,
    lengths: LENGTHS,
    run: Annotated[
        Path, typer.Option(metavar="DIR", help="Directory of the results.", show_default=False)
    ],
    config_file: CONFIG = None,  # noqa: ARG001
    log_every: LOG_EVERY = 10.0,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Train a new model at each length of a task, until one is not solved.

    The same command continues where it was stopped.

    Examples:
        $ charlm tasks train copy --lengths 10..100 --cell gru --run runs/copy
    """
    config = validate_config({"max_steps": DEFAULT_MAX_STEPS, **settings})
    from charlm.reporting.terminal.tasks import print_curriculum
    from charlm.tasks.base import TASKS
    from charlm.tasks.curriculum import train_curriculum
    from charlm.tasks.lengths import parse_lengths
    from charlm.testing.trusted_cells import load_and_check_custom_cells

    raise_pending()
    task = TASKS[name]
    chosen = parse_lengths(lengths, task.min_length, task.max_length)
    load_and_check_custom_cells([config.cell])
    report = train_curriculum(name, chosen, config, run, make_progress(log_every))
    if json:
        console.print_json(to_builtins(report))
    else:
        print_curriculum(report)


@tasks_app.command(name="compare")
@add_config_options(
    *("cell", "hidden_size", "seed", "threads"),
    *TEXT_ONLY_FIELDS,
    defaults=TASK_DEFAULTS,
    by_reference=True,
)
def compare_tasks(
    settings: dict[str, Any],
    name: TASK,
    lengths: LENGTHS,
    cells: CELLS = DEFAULT_CELL_NAMES,
    seeds: Annotated[
        int, typer.Option(metavar="N", help="Models per cell.", min=1, max=1000)
    ] = DEFAULT_SEEDS,
    match: Annotated[
        Literal["params", "flops", "state"],
        typer.Option(help="Quantity that all models have in common."),
    ] = "params",
    params: PARAMS = DEFAULT_PARAMS,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory of the comparison.")] = Path(
        "comparison"
    ),
    dry_run: DRY_RUN = False,
    jobs: CLUSTER_JOBS = 0,
    executor: EXECUTOR = "local",
    ray_address: RAY_ADDRESS = "",
    log_every: LOG_EVERY = 10.0,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Compare cells on a task at equal size.

    Each cell and seed is trained from new weights at one length after
    another, for at most --max-steps each, until a length is not solved.
    Without --lr, three curricula per cell with a seed of their own choose
    its rate: its recipe's, half or twice as much.

    The same command continues where it was stopped. More cells, more seeds
    and greater lengths reuse what is done.

    Examples:
        $ charlm tasks compare copy --lengths 10..100 --dry-run   # what it takes
        $ charlm tasks compare copy --lengths 10..100 --params 25000 --out copy
    """
    validate_executor(executor, ray_address, times_cells=dry_run)
    from charlm.comparison.task_plan import TaskComparisonRequest
    from charlm.tasks.base import TASKS
    from charlm.tasks.lengths import parse_lengths

    raise_pending()
    task = TASKS[name]
    request = TaskComparisonRequest(
        task=name,
        lengths=tuple(parse_lengths(lengths, task.min_length, task.max_length)),
        cells=tuple(split_names(cells)),
        settings=settings,
        params=params,
        match=match,
        seeds=seeds,
    )
    device = str(settings.get("device", Config().device))
    progress = make_progress(log_every)
    if dry_run:
        from charlm.comparison.task_estimate import dry_run as estimate_task
        from charlm.reporting.terminal.cost_estimate import print_cost_estimate

        estimate = estimate_task(request, out, device=device, jobs=jobs, progress=progress)
        if json:
            console.print_json(to_builtins(estimate))
        else:
            print_cost_estimate(estimate)
        return
    from charlm.comparison.compare_on_task import compare_on_task
    from charlm.comparison.directory import open_comparison
    from charlm.reporting.html.tasks import render_tasks
    from charlm.reporting.terminal.tasks import print_task_plan, print_task_report
    from charlm.storage import files

    raise_pending()
    with open_comparison(
        out,
        "task",
        executor=executor,
        ray_address=ray_address,
        device=device,
        jobs=jobs,
        progress=progress,
    ) as execution:
        command = console.shell_command(["charlm", *sys.argv[1:]])
        result = compare_on_task(request, execution, command, print_task_plan)
        files.write_atomic(out / "report.html", render_tasks(result))
    if json:
        console.print_json(to_builtins(result.report))
    else:
        print_task_report(result.report, result.timing)
    console.print_message(f"results are in {out}: report.html, report.json and all curricula")
