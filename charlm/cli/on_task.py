"""charlm compare-cells, on a task."""

import sys
from typing import TYPE_CHECKING

from charlm.cli.asked import Asked, Done, refuse_cells
from charlm.cli.given import Work, do, load_own
from charlm.config import OF_TEXT, flag
from charlm.errors import BadConfig

if TYPE_CHECKING:
    from charlm.task import Task


KIND = "task"


def refuse(asked: Asked) -> None:
    """What is of a text."""
    of_text = [*asked.corpus, *(flag(name) for name in OF_TEXT if name in asked.given)]
    if of_text:
        raise BadConfig(f"--task {asked.task} reads no text: leave {of_text[0]} out")
    for why, option in {
        "--probe asks runs on a text": "probe",
        "--plan cannot know how far climbs get": "plan",
        "--trials tunes cells on a text": "trials",
        "--lr-range tunes cells on a text": "lr_range",
        "--baseline judges bits of a text": "baseline",
        "--margin judges bits of a text": "margin",
        "--transformer is a baseline of a text": "transformer",
    }.items():
        if option in asked.said:
            raise BadConfig(f"{why}: leave it out, or --task")
    if asked.match == "seconds":
        raise BadConfig("--match seconds is of updates on a text: leave it out, or --task")
    refuse_cells(asked)


def prepare(asked: Asked) -> None:
    """Refuses what only the task knows, and loads the cells."""
    steps(asked)
    load_own(asked.names, compared=True)


def steps(asked: Asked) -> "tuple[Task, list[int]]":
    """The task, and the distances that are climbed."""
    from charlm import tasks as tasks
    from charlm.task import TASKS, distances

    task = TASKS[asked.task]
    return task, distances(asked.distance, task.shortest)


def compare(work: Work, asked: Asked) -> Done:
    """Climbs of every cell and seed."""
    from charlm import compare_task, match
    from charlm.climb import refuse_too_far
    from charlm.compare import begin
    from charlm.show import tasks
    from charlm.workers import Local, told

    task, distances = steps(asked)
    footing = match.equal(
        *(asked.settings, asked.names, asked.parameters, task.symbols, asked.match, task.model)
    )
    planned = compare_task.plan(
        *(asked.settings, asked.seeds, footing, asked.task, distances, work.place)
    )
    left = [one.config for one in planned if not one.look().ended]
    if isinstance(work.engine, Local):  # in a cluster each climb looks at its own machine
        here = work.engine
        refuse_too_far(left, task, distances[-1], here.where, here.side_by_side)
    begin(work.place, KIND)
    tasks.planned(planned, footing, told(work.engine), work.place)
    do([one.job for one in planned], work)
    report = compare_task.conclude(planned, footing, work.place, ["charlm", *sys.argv[1:]])
    return Done(
        report, lambda: tasks.comparison(report), "report.html, report.json and every climb"
    )
