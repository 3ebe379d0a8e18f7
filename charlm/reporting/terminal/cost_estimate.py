"""Cost of a comparison on a terminal, before any run has started."""

from charlm.console import print_result
from charlm.reporting.formatting import format_count, format_duration
from charlm.reporting.terminal.tables import (
    add_row,
    make_table,
    print_insufficient_data,
    print_paragraphs,
    print_table,
)
from charlm.reporting.wording.matching import (
    describe_matching,
    describe_parallel_runs,
    describe_work,
    format_planned_error,
)
from charlm.results.comparison_plan import CostEstimate, PlannedJob

PURPOSES = {
    "run": "runs",
    "curriculum": "curricula",
    "trial": "trials",
    "bracket": "rates",
    "probe": "memory",
}


def print_cost_estimate(estimate: CostEstimate) -> None:
    """Print the total that remains, the size and speed of each entry, and the jobs of each."""
    print_insufficient_data(estimate.insufficient)
    parallel = describe_parallel_runs(
        estimate.parallel_runs, estimate.device, estimate.memory_limits_parallel
    )
    available, is_task = estimate.available, any(j.purpose == "curriculum" for j in estimate.runs)
    verb = "It takes at most" if is_task and estimate.remaining.runs else "It takes"
    print_paragraphs(
        [
            f"{verb} {describe_work(estimate.remaining, parallel)}. Available: "
            f"{available.disk_bytes / 1e9:,.1f} GB and {available.memory_bytes / 1e9:,.1f} GB.",
            f"{describe_matching(estimate.matching)}.",
        ]
    )
    print_result("")
    table = make_table(("cell", "hidden", "params", "FLOPs", "state", "s/M", "error"), ("cell",))
    for entry in estimate.entries:
        seconds = entry.seconds_per_million
        add_row(
            table,
            (
                entry.name,
                f"{entry.hidden_size}",
                f"{entry.parameters:,}",
                format_count(entry.flops_per_character),
                f"{entry.state_size:,}",
                "-" if seconds is None else f"{seconds:.3g}",
                format_planned_error(entry),
            ),
        )
    print_table(table)
    print_result("")
    table = make_table(("cell", "", "jobs", "done", "time", "memory", "disk"), ("cell", ""))
    for (cell, purpose), jobs in _group_jobs(estimate).items():
        add_row(
            table,
            (
                cell,
                PURPOSES[purpose],
                f"{len(jobs)}",
                f"{sum(job.fraction_done for job in jobs) / len(jobs):.0%}",
                format_duration(sum(job.seconds for job in jobs)),
                f"{max(job.memory_bytes for job in jobs) / 1e6:,.0f} MB",
                f"{sum(job.disk_bytes for job in jobs) / 1e6:,.1f} MB",
            ),
        )
    print_table(table)
    print_result("")
    print_paragraphs([_describe_columns(estimate.startup_seconds, is_task)])


def _describe_columns(startup_seconds: float, is_task: bool) -> str:
    """Return what the columns of both tables mean."""
    symbol = "symbol" if is_task else "character"
    where = ", at the longest length" if is_task else ""
    text = (
        f"FLOPs: per {symbol}, forward. s/M: seconds of training per million {symbol}s{where}, "
        "measured now, one cell at a time. Time: still to be done; of it, "
        f"{startup_seconds:.1f} s per job to start and stop. "
    )
    if is_task:
        text += (
            "It is the most that a curriculum can take: training at a length ends where the length "
            "is solved, and the curriculum where one is not. "
        )
    return f"{text}Memory: of one job. The estimate is as good as these measurements."


def _group_jobs(estimate: CostEstimate) -> dict[tuple[str, str], list[PlannedJob]]:
    """Return the jobs by cell and purpose."""
    groups: dict[tuple[str, str], list[PlannedJob]] = {}
    for job in estimate.runs:
        groups.setdefault((job.cell, job.purpose), []).append(job)
    return groups
