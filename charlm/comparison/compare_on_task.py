"""charlm compare-cells, on a task."""

import sys

from charlm.comparison.request import ComparisonOutcome, ComparisonRequest, validate_cells
from charlm.config import TEXT_ONLY_FIELDS, option_name
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, run_jobs
from charlm.tasks.base import Task
from charlm.testing.trusted_cells import load_and_check_custom_cells

KIND = "task"


def validate(asked: ComparisonRequest) -> None:
    """What is of a text."""
    of_text = [
        *asked.corpus,
        *(option_name(name) for name in TEXT_ONLY_FIELDS if name in asked.config_overrides),
    ]
    if of_text:
        raise ConfigError(f"--task {asked.task} reads no text: leave {of_text[0]} out")
    for why, option in {
        "--probe asks runs on a text": "probe",
        "--dry-run cannot know how far climbs get": "plan",
        "--trials tunes cells on a text": "trials",
        "--lr-range tunes cells on a text": "lr_range",
        "--reference judges bits of a text": "baseline",
        "--margin judges bits of a text": "margin",
        "--transformer is a baseline of a text": "transformer",
    }.items():
        if option in asked.explicit_options:
            raise ConfigError(f"{why}: leave it out, or --task")
    if asked.match == "seconds":
        raise ConfigError("--match seconds is of updates on a text: leave it out, or --task")
    validate_cells(asked)


def load_cells(asked: ComparisonRequest) -> None:
    """Refuses what only the task knows, and loads the cells."""
    parse_task(asked)
    load_and_check_custom_cells(asked.cell_names, compared=True)


def parse_task(asked: ComparisonRequest) -> "tuple[Task, list[int]]":
    """The task, and the distances that are climbed."""
    from charlm.tasks.base import TASKS, parse_distances

    task = TASKS[asked.task]
    return task, parse_distances(asked.distance, task.min_distance)


def compare_on_task(work: Execution, asked: ComparisonRequest) -> ComparisonOutcome:
    """Climbs of every cell and seed."""
    from charlm.comparison import budget_matching, task_report
    from charlm.comparison.plan import initialize_comparison_dir
    from charlm.execution.jobs import LocalExecutor, describe_executor
    from charlm.reporting.terminal import tasks
    from charlm.tasks.curriculum import check_length_fits_memory

    task, distances = parse_task(asked)
    footing = budget_matching.match_budget(
        *(asked.settings, asked.cell_names, asked.parameters, task.symbols, asked.match, task.model)
    )
    planned = task_report.plan_curricula(
        *(asked.settings, asked.seeds, footing, asked.task, distances, work.directory)
    )
    left = [one.config for one in planned if not one.progress().status]
    if isinstance(work.engine, LocalExecutor):  # in a cluster each climb looks at its own machine
        here = work.engine
        check_length_fits_memory(left, task, distances[-1], here.device, here.max_parallel)
    initialize_comparison_dir(work.directory, KIND)
    tasks.print_plan(planned, footing, describe_executor(work.engine), work.directory)
    run_jobs([one.job for one in planned], work)
    report = task_report.build_report(planned, footing, work.directory, ["charlm", *sys.argv[1:]])
    return ComparisonOutcome(
        report, lambda: tasks.print_report(report), "report.html, report.json and every climb"
    )
