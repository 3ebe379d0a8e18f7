"""Cost of a comparison on a terminal, before any run has started."""

from charlm.console import print_result
from charlm.reporting.formatting import format_count, format_duration, pluralize
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
    format_planned_error,
)
from charlm.results.comparison import CostEstimate


def print_cost_estimate(estimate: CostEstimate) -> None:
    """Print the size and speed of each entry, each run, and the remaining total."""
    print_insufficient_data(estimate.insufficient)
    print_paragraphs([describe_matching(estimate.matching)])
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
    table = make_table(("run", "done", "remaining", "memory", "disk"), ("run",))
    for run in estimate.runs:
        add_row(
            table,
            (
                run.name,
                "diverged" if run.status == "diverged" else f"{run.fraction_done:.0%}",
                format_duration(run.seconds),
                f"{run.memory_bytes / 1e6:,.0f} MB",
                f"{run.disk_bytes / 1e6:,.1f} MB",
            ),
        )
    print_table(table)
    print_result("\n" + _describe_total(estimate))


def _describe_total(estimate: CostEstimate) -> str:
    remaining, available = estimate.remaining, estimate.available
    parallel = describe_parallel_runs(
        estimate.parallel_runs, estimate.device, estimate.memory_limits_parallel
    )
    verb = "remains" if remaining.runs == 1 else "remain"
    return (
        f"{pluralize(remaining.runs, 'run')} {verb}: {format_duration(remaining.seconds)}, "
        f"{parallel}.\n"
        f"They need {remaining.memory_bytes / 1e9:,.2f} GB of memory at once and at most "
        f"{remaining.disk_bytes / 1e9:,.2f} GB of disk;\n"
        f"{available.memory_bytes / 1e9:,.1f} GB and {available.disk_bytes / 1e9:,.1f} GB are "
        "available.\n"
        "FLOPs: per character, forward. s/M: seconds of training per million characters,\n"
        "measured now, one cell at a time. Each run takes another "
        f"{estimate.startup_seconds:.1f} s to start and\nstop. The estimate is as good as these "
        "measurements."
    )
