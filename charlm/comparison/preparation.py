"""Preparation of a comparison: what it takes, whether it fits, and how its plan is shown."""

from pathlib import Path
from typing import NamedTuple

from charlm.comparison.cost_estimate import (
    check_disk_space,
    estimate_cost,
    estimate_disk,
    estimate_memory,
    limit_to_memory,
)
from charlm.comparison.directory import check_comparison_dir
from charlm.comparison.entries import by_seed
from charlm.comparison.memory_profile import read_profiled_tasks
from charlm.comparison.plan import ComparisonPlan, plan_comparison
from charlm.comparison.request import ComparisonRequest
from charlm.comparison.throughput import Speeds, measure_speeds, measure_startup_time
from charlm.comparison.tuning import describe_search
from charlm.comparison.work import bracket_work, planned_work
from charlm.errors import ConfigError
from charlm.execution.device import available_cores, select_device
from charlm.execution.executor import Execution, LocalExecutor
from charlm.progress import NoProgress, Progress
from charlm.results.comparison_plan import ComparisonOverview, CostEstimate


class TimedWork(NamedTuple):
    """Speed of entries, and what is left to do; empty where nothing is timed."""

    speeds: Speeds = {}
    estimate: CostEstimate | None = None


def time_remaining_work(plan: ComparisonPlan, execution: Execution) -> TimedWork:
    """Time each entry for a moment; nothing in a cluster, or where all runs have ended."""
    executor = execution.executor
    is_done = all(work.progress().status for work in planned_work(plan))
    if is_done or not isinstance(executor, LocalExecutor):
        return TimedWork()
    with execution.progress.counter("timing each entry") as count:
        speeds = measure_speeds(plan.entries, plan.corpus, executor.device, count)
    startup = measure_startup_time(executor.device)
    estimate = estimate_cost(plan, execution.directory, executor, speeds, startup)
    return TimedWork(speeds, estimate)


def dry_run(
    request: ComparisonRequest,
    out: Path,
    *,
    device: str = "auto",
    jobs: int = 0,
    progress: Progress = NoProgress(),
) -> CostEstimate:
    """Estimate what a comparison will take; train nothing but a moment of each cell.

    Nothing is written. What the directory of the comparison has already counts as done.

    Args:
        request: What would be compared.
        out: Directory of the comparison, which need not exist.
        device: Device of the runs.
        jobs: Runs in parallel; 0: one per core.
        progress: Receives progress.

    Raises:
        ConfigError: The text is standard input, which could not be read again, or the comparisons
            on tasks cannot be used.
    """
    if "-" in request.texts:
        raise ConfigError(
            "cannot use --dry-run with standard input: it could not be read again. Try a file"
        )
    check_comparison_dir(out, "text")
    local_device, _ = select_device(device, 1)
    executor = LocalExecutor(jobs or available_cores(), local_device)
    execution = Execution(out, executor, progress)
    plan = plan_comparison(request, execution, writes=False)
    read_profiled_tasks(request.tasks, plan.entries)  # raises if they cannot be used
    with progress.counter("timing each entry") as count:
        speeds = measure_speeds(plan.entries, plan.corpus, local_device, count)
    return estimate_cost(plan, out, executor, speeds, measure_startup_time(local_device))


class CheckedResources(NamedTuple):
    """Execution of a plan that fits into memory and onto the disk."""

    execution: Execution
    memory_limits_parallel: bool  # whether fewer run in parallel than requested


def check_resources(plan: ComparisonPlan, execution: Execution) -> CheckedResources:
    """Limit parallel runs to those that fit into memory.

    In a cluster, every machine checks its own memory.

    Raises:
        StorageError: The disk is too small for what remains.
    """
    planned = planned_work(plan)
    remaining = [work for work in planned if not work.progress().status] or planned
    disk = sum(estimate_disk(work) for work in remaining)
    check_disk_space(execution.directory, disk)
    if not isinstance(execution.executor, LocalExecutor):
        return CheckedResources(execution, memory_limits_parallel=False)
    device = execution.executor.device
    needs = [
        estimate_memory(work.run.config, plan.corpus.vocabulary.size, device) for work in remaining
    ]
    limited = limit_to_memory(execution.executor, needs)
    return CheckedResources(
        Execution(execution.directory, limited.executor, execution.progress), limited.is_limited
    )


def describe_plan(
    plan: ComparisonPlan, resources: CheckedResources, timed: TimedWork
) -> ComparisonOverview:
    """Return what is shown of a plan before its first run."""
    execution = resources.execution
    return ComparisonOverview(
        corpus=plan.corpus.record,
        vocabulary_size=plan.corpus.vocabulary.size,
        vocabulary_kind=plan.corpus.vocabulary.kind,
        matching=plan.matching,
        entries=tuple(
            entry.summary(
                timed.speeds[entry.name].seconds_per_step if entry.name in timed.speeds else None
            )
            for entry in plan.entries
        ),
        runs=len(by_seed(plan.entries)) + len(bracket_work(plan)),
        config=plan.entries[0].runs[0].config,
        reference=plan.reference,
        search=describe_search(plan),
        parallel_runs=execution.executor.capacity(),
        memory_limits_parallel=resources.memory_limits_parallel,
        device=execution.executor.description,
        out=str(execution.directory),
        insufficient=plan.insufficient,
        remaining=timed.estimate.remaining if timed.estimate else None,
        linear_cells=plan.linear_cells,
        bare_linear_cells=plan.bare_linear_cells,
    )
