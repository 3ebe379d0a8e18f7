"""charlm tasks"""

import signal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from charlm import show
from charlm.cli.given import load_own
from charlm.cli.root import app
from charlm.config import OF_TEXT, UPDATES, Config, checked
from charlm.errors import BadConfig, Interrupted
from charlm.flags import JSON, LOG_EVERY, settings
from charlm.signals import check

NAME = Annotated[str, typer.Argument(metavar="TASK", help="One that charlm tasks lists.")]
DISTANCE = Annotated[
    str, typer.Option(help="A range such as 10..1000 (10, 20, 50, 100 …), or a list: 10,30.")
]
tasks = typer.Typer()
app.add_typer(tasks, name="tasks")


@tasks.callback(invoke_without_command=True)
def all_tasks(context: typer.Context, json: JSON = False) -> None:
    """List the tasks of memory, show one, climb one.

    charlm tasks

    charlm tasks show copy --distance 8

    charlm compare-cells --task copy --distance 10..1000
    """
    if context.invoked_subcommand is None:
        listed(json)
    elif json:
        raise BadConfig("--json stands after list, show or climb")


@tasks.command(name="list")
def listed(json: JSON = False) -> None:
    """Every task: where it is from, what is asked, what chance and an oracle reach."""
    from charlm import tasks as tasks
    from charlm.show import tasks as drawing
    from charlm.task import TASKS

    check()
    entries = [{"task": name, **one.told} for name, one in TASKS.items()]
    if json:
        show.result_json({"tasks": entries})
    else:
        drawing.listed(entries)


@tasks.command(name="show")
def shown(
    name: NAME,
    distance: Annotated[int, typer.Option(help="Of the example.", min=1, max=10**6)] = 10,
    seed: Annotated[int, typer.Option(help="Of the example.", min=0)] = 0,
    json: JSON = False,
) -> None:
    """Print what a task is, and a sequence of it with what is asked."""
    from charlm import tasks as tasks
    from charlm.show import tasks as drawing
    from charlm.task import NONE, TASKS, distances, source

    check()
    task = TASKS[name]
    distances(str(distance), task.shortest)
    x, y, asked = task.batch(distance, 1, source(name, distance, "train", seed, 0))
    chance = task.chance(distance)
    example = {
        "x": x[:, 0].tolist(),
        "y": [None if answer == NONE else answer for answer in task.oracle(x[:, 0].tolist())],
        "asked": asked[:, 0].tolist(),
    }
    report = {"task": name, **task.told, "at": distance, "letters": task.letters}
    report |= {"example": example, "level": msgspec.to_builtins(chance)}
    if json:
        show.result_json(report)
    else:
        drawing.shown(report, type(task).__doc__ or "")


@tasks.command(name="climb")
@settings(*OF_TEXT)
def climbed(
    given: dict[str, Any],
    name: NAME,
    distance: DISTANCE,
    run: Annotated[Path, typer.Option(help="Where the climb is kept.")],
    log_every: LOG_EVERY = 10.0,
    json: JSON = False,
) -> None:
    """Train one model on a task, at one distance after another, until one is not solved.

    charlm tasks climb copy --distance 10..100 --cell gru --hidden 64 --run runs/copy-gru

    The same command again goes on with the distance at which it was stopped.
    """
    config = checked({"updates": UPDATES, **given})
    from charlm import climb, workers
    from charlm.machine import prepare
    from charlm.run import refuse_existing, writer
    from charlm.show import progress
    from charlm.show import tasks as drawing
    from charlm.task import TASKS, distances

    check()
    steps = distances(distance, TASKS[name].shortest)
    load_own([given.get("cell", Config().cell)])
    device, _ = prepare(config.device, config.threads)
    if not (run / "climb.json").exists():
        refuse_existing(run)
    with writer(run), progress.reading(f"{name}: updates", log_every) as tick:

        def watch(updates: int) -> None:
            if workers.orphaned():
                raise Interrupted(signal.SIGTERM)
            tick(updates)

        climb.begin(run, name, config)
        try:
            for outcome in climb.climb(run, name, config, steps, device, watch):
                show.say(drawing.outcome(msgspec.to_builtins(outcome)))
        except Interrupted as stop:
            again = "the distances done are kept; the same command goes on"
            raise Interrupted(stop.signal, f"{stop}; {again}") from None
        found = msgspec.to_builtins(climb.outcomes(run, steps))
    if json:
        show.result_json({"task": name, "outcomes": found})
    else:
        for one in found:
            show.result(drawing.outcome(one))
