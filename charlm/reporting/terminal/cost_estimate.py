"""What runs will take, before any is begun."""

from textwrap import wrap
from typing import Any

from rich.text import Text

from charlm.console import escape_control_characters, print_result
from charlm.reporting.formatting import format_count, format_duration
from charlm.reporting.terminal.tables import NARROW, make_table, print_table


def print_cost_estimate(plan: dict[str, Any]) -> None:
    """Each cell, each run, and all that are left."""
    print_result("\n".join(wrap(plan["equal"]["told"], NARROW)) + "\n")
    table = make_table()
    for head in ("cell", "hidden", "params", "FLOPs", "state", "s/M", "off by"):
        table.add_column(head, justify="left" if head == "cell" else "right")
    for one in plan["cells"]:
        beside = one["purpose"] == "transformer"
        table.add_row(
            Text(escape_control_characters(one["purpose"] if beside else one["cell"])),
            f"{one['hidden_size']}",
            f"{one['parameters']:,}",
            format_count(one["flops_per_character"]),
            f"{one['state_size']:,}",
            f"{one['seconds_per_million']:.3g}",
            "-" if beside else f"{one['residual']:+.2%}",
        )
    print_table(table)
    print_result("")
    table = make_table()
    for head in ("run", "done", "left", "memory", "disk"):
        table.add_column(head, justify="left" if head == "run" else "right")
    for one in plan["runs"]:
        table.add_row(
            Text(escape_control_characters(one["run"])),
            one["status"] if one["status"] == "diverged" else f"{one['done']:.0%}",
            format_duration(one["seconds"]),
            f"{one['memory'] / 1e6:,.0f} MB",
            f"{one['disk'] / 1e6:,.1f} MB",
        )
    print_table(table)
    left, free = plan["left"], plan["free"]
    print_result(
        f"\n{left['runs']} runs are left: {format_duration(left['seconds'])}, {plan['where']}.\n"
        f"They take {left['memory'] / 1e9:,.2f} GB of memory at once and "
        f"{left['disk'] / 1e9:,.2f} GB of disk at most;\n{free['memory'] / 1e9:,.1f} GB and "
        f"{free['disk'] / 1e9:,.1f} GB are free.\n"
        "FLOPs: of one character, forward. s/M: seconds of updates for a million\n"
        "characters, timed now, one cell at a time. To begin and end takes each run\n"
        f"{plan['starting']:.1f} s. The time left is as good as that."
    )
