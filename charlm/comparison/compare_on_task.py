"""Comparison of cells on a synthetic task: plan, run all curricula, report."""

from collections.abc import Callable

from charlm.comparison.directory import initialize_comparison_dir
from charlm.comparison.report import write_reports
from charlm.comparison.task_plan import TaskComparisonRequest, plan_task_comparison
from charlm.comparison.task_report import build_task_report, build_task_timing
from charlm.execution.executor import Execution, run_jobs
from charlm.progress import ignore
from charlm.results.tasks import TaskComparisonOverview, TaskComparisonResult


def compare_on_task(
    request: TaskComparisonRequest,
    execution: Execution,
    command: str = "",
    on_plan: Callable[[TaskComparisonOverview], object] = ignore,
) -> TaskComparisonResult:
    """Train every cell and seed on a task, at one length after another, and report.

    A directory that has part of the comparison is continued.

    Args:
        request: What is compared.
        execution: Where jobs run; its directory is that of the comparison, locked by the caller.
        command: Command line to record in `timing.json`.
        on_plan: Is called before the first curriculum.

    Returns:
        The report and the wall-clock times, which are also written to the directory.

    Raises:
        ConfigError: No hidden sizes match the budget.
        InsufficientMemoryError: The longest length needs more memory than is available.
        Interrupted: A signal came; all results are saved.
    """
    plan = plan_task_comparison(request, execution)
    directory = execution.directory
    initialize_comparison_dir(directory, "task")
    on_plan(plan.overview(execution))
    if plan.bracket:
        run_jobs([curriculum.job for curriculum in plan.bracket], execution)
    plan = plan.with_chosen_rates()
    run_jobs([curriculum.job for curriculum in plan.curricula], execution)
    result = TaskComparisonResult(
        report=build_task_report(plan), timing=build_task_timing(plan, command)
    )
    write_reports(directory, result)
    return result
