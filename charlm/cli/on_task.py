"""charlm compare-cells, on a task."""

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from charlm.cli.given import Work, do

if TYPE_CHECKING:
    from charlm.report import Report


class Asked(NamedTuple):
    """What is compared."""

    given: dict[str, Any]  # the settings
    cells: list[str]
    seeds: int
    parameters: int
    measure: str  # of what all have the same
    task: str
    distances: list[int]


def steps(task: str, distance: str) -> list[int]:
    """The distances that are climbed."""
    from charlm import tasks as tasks
    from charlm.task import TASKS, distances

    return distances(distance, TASKS[task].shortest)


def compare(work: Work, asked: Asked) -> "Report":
    """Climbs of every cell and seed; their report."""
    from charlm import compare_task, match
    from charlm.climb import refuse_too_far
    from charlm.show import tasks
    from charlm.task import TASKS
    from charlm.workers import Local, told

    task = TASKS[asked.task]
    footing = match.equal(
        *(asked.given, asked.cells, asked.parameters, task.symbols, asked.measure, task.model)
    )
    planned = compare_task.plan(
        *(asked.given, asked.seeds, footing, asked.task, asked.distances, work.place)
    )
    left = [one.config for one in planned if not one.look().ended]
    if isinstance(work.engine, Local):  # in a cluster each climb looks at its own machine
        here = work.engine
        refuse_too_far(left, task, asked.distances[-1], here.where, here.side_by_side)
    tasks.planned(planned, footing, told(work.engine), work.place)
    do([one.job for one in planned], work)
    return compare_task.conclude(planned, footing, work.place, ["charlm", *sys.argv[1:]])
