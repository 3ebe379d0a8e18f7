"""A cleanup on a terminal: what it frees, where, and what it leaves."""

from collections import Counter
from pathlib import Path

from charlm.console import print_message, print_result
from charlm.reporting.formatting import format_size, pluralize
from charlm.reporting.terminal.tables import add_row, make_table, print_table
from charlm.reporting.wording.cleanup import KINDS, REASONS
from charlm.results.cleanup import CleanupReport, Surplus

# Directories between what is removed and the place that the table names.
DEPTHS = {"checkpoint": 1, "lock": 1}


def print_cleanup(report: CleanupReport) -> None:
    """Print what a cleanup frees or freed, and the total; on stderr what it leaves, and why."""
    numbers: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for item in report.surplus:
        key = (_owner(item), KINDS[item.kind])
        numbers[key] += 1
        sizes[key] += item.size
    if numbers:
        table = make_table(("what", "where", "number", "size"), left=("what", "where"))
        for (owner, kind), number in sorted(numbers.items()):
            add_row(table, (kind, owner, f"{number:,}", format_size(sizes[owner, kind])))
        print_table(table)
    for skipped in report.skipped:
        print_message(f"{skipped.path} stays: {REASONS[skipped.reason]}")
    print_cleanup_total(report)


def print_cleanup_total(report: CleanupReport) -> None:
    """Print how much a cleanup frees or freed."""
    items = pluralize(len(report.surplus), "item")
    if not report.surplus:
        print_result("nothing to remove")
    elif report.removed:
        print_result(f"removed {items}, {format_size(report.size)}")
    else:
        print_result(f"would remove {items}, {format_size(report.size)}")


def _owner(item: Surplus) -> str:
    path = Path(item.path)
    if item.kind == "training_state" and path.parents[1].name == "checkpoints":
        return str(path.parents[2])
    return str(path.parents[DEPTHS.get(item.kind, 0)])
