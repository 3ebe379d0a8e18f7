"""charlm tasks"""

import signal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.options import JSON, LOG_EVERY, add_config_options
from charlm.config import DEFAULT_MAX_STEPS, TEXT_ONLY_FIELDS, Config, validate_config
from charlm.errors import ConfigError, Interrupted
from charlm.execution.signals import raise_pending
from charlm.testing.trusted_cells import load_and_check_custom_cells

NAME = Annotated[str, typer.Argument(metavar="TASK", help="One that charlm tasks lists.")]
DISTANCE = Annotated[
    str, typer.Option(help="A range such as 10..1000 (10, 20, 50, 100 …), or a list: 10,30.")
]
tasks = typer.Typer()
app.add_typer(tasks, name="tasks")


@tasks.callback(invoke_without_command=True)
def tasks_callback(context: typer.Context, json: JSON = False) -> None:
    """List the tasks of memory, show one, climb one.

    charlm tasks

    charlm tasks show copy --distance 8

    charlm compare-cells --task copy --distance 10..1000
    """
    if context.invoked_subcommand is None:
        list_tasks(json)
    elif json:
        raise ConfigError("--json stands after list, show or climb")


@tasks.command(name="list")
def list_tasks(json: JSON = False) -> None:
    """Every task: where it is from, what is asked, what chance and an oracle reach."""
    from charlm.reporting.terminal import tasks as drawing
    from charlm.tasks.base import TASKS

    raise_pending()
    entries = [{"task": name, **one.documentation} for name, one in TASKS.items()]
    if json:
        console.print_json({"tasks": entries})
    else:
        drawing.print_task_list(entries)


@tasks.command(name="show")
def show_task(
    name: NAME,
    distance: Annotated[int, typer.Option(help="Of the example.", min=1, max=10**6)] = 10,
    seed: Annotated[int, typer.Option(help="Of the example.", min=0)] = 0,
    json: JSON = False,
) -> None:
    """Print what a task is, and a sequence of it with what is asked."""
    from charlm.reporting.terminal import tasks as drawing
    from charlm.tasks.base import IGNORE_INDEX, TASKS, batch_generator, parse_distances

    raise_pending()
    task = TASKS[name]
    parse_distances(str(distance), task.min_distance)
    x, y, asked = task.sample_batch(distance, 1, batch_generator(name, distance, "train", seed, 0))
    chance = task.chance_score(distance)
    example = {
        "x": x[:, 0].tolist(),
        "y": [
            None if answer == IGNORE_INDEX else answer for answer in task.solve(x[:, 0].tolist())
        ],
        "asked": asked[:, 0].tolist(),
    }
    report = {"task": name, **task.documentation, "at": distance, "letters": task.symbol_names}
    report |= {"example": example, "level": msgspec.to_builtins(chance)}
    if json:
        console.print_json(report)
    else:
        drawing.print_task(report, type(task).__doc__ or "")


@tasks.command(name="climb")
@add_config_options(*TEXT_ONLY_FIELDS)
def train_curriculum(
    given: dict[str, Any],
    name: NAME,
    distance: DISTANCE,
    run: Annotated[Path, typer.Option(help="Where the climb is kept.")],
    log_every: LOG_EVERY = 10.0,
    json: JSON = False,
) -> None:
    """Train one model on a task, at one distance after another, until one is not solved.

    charlm tasks climb copy --distance 10..100 --cell gru --hidden-size 64 --run runs/copy-gru

    The same command again goes on with the distance at which it was stopped.
    """
    config = validate_config({"max_steps": DEFAULT_MAX_STEPS, **given})
    from charlm.execution import jobs
    from charlm.execution.device import select_device
    from charlm.reporting.terminal import progress
    from charlm.reporting.terminal import tasks as drawing
    from charlm.runs.run import check_not_existing
    from charlm.storage.lock import exclusive_lock
    from charlm.tasks import curriculum
    from charlm.tasks.base import TASKS, parse_distances

    raise_pending()
    steps = parse_distances(distance, TASKS[name].min_distance)
    load_and_check_custom_cells([given.get("cell", Config().cell)])
    device, _ = select_device(config.device, config.threads)
    if not (run / "climb.json").exists():
        check_not_existing(run)
    with exclusive_lock(run), progress.progress_counter(f"{name}: updates", log_every) as tick:

        def watch(updates: int) -> None:
            if jobs.is_orphaned():
                raise Interrupted(signal.SIGTERM)
            tick(updates)

        curriculum.initialize_curriculum_dir(run, name, config)
        try:
            for outcome in curriculum.run_curriculum(run, name, config, steps, device, watch):
                console.print_message(drawing.format_level_result(msgspec.to_builtins(outcome)))
        except Interrupted as stop:
            again = "the distances done are kept; the same command goes on"
            raise Interrupted(stop.signal, f"{stop}; {again}") from None
        found = msgspec.to_builtins(curriculum.load_level_results(run, steps))
    if json:
        console.print_json({"task": name, "outcomes": found})
    else:
        for one in found:
            console.print_result(drawing.format_level_result(one))
