"""What runs will take, before any is begun."""

from textwrap import wrap
from typing import Any

from rich.text import Text

from charlm.show import duration, large, result
from charlm.show.tables import NARROW, bare_table, drawn
from charlm.visible import visible


def forecast(plan: dict[str, Any]) -> None:
    """Each cell, each run, and all that are left."""
    result("\n".join(wrap(plan["equal"]["told"], NARROW)) + "\n")
    table = bare_table()
    for head in ("cell", "hidden", "params", "FLOPs", "state", "s/M", "off by"):
        table.add_column(head, justify="left" if head == "cell" else "right")
    for one in plan["cells"]:
        beside = one["purpose"] == "transformer"
        table.add_row(
            Text(visible(one["purpose"] if beside else one["cell"])),
            f"{one['hidden']}",
            f"{one['parameters']:,}",
            large(one["flops_per_character"]),
            f"{one['state_size']:,}",
            f"{one['seconds_per_million']:.3g}",
            "-" if beside else f"{one['residual']:+.2%}",
        )
    drawn(table)
    result("")
    table = bare_table()
    for head in ("run", "done", "left", "memory", "disk"):
        table.add_column(head, justify="left" if head == "run" else "right")
    for one in plan["runs"]:
        table.add_row(
            Text(visible(one["run"])),
            one["status"] if one["status"] == "diverged" else f"{one['done']:.0%}",
            duration(one["seconds"]),
            f"{one['memory'] / 1e6:,.0f} MB",
            f"{one['disk'] / 1e6:,.1f} MB",
        )
    drawn(table)
    left, free = plan["left"], plan["free"]
    result(
        f"\n{left['runs']} runs are left: {duration(left['seconds'])}, {plan['where']}.\n"
        f"They take {left['memory'] / 1e9:,.2f} GB of memory at once and "
        f"{left['disk'] / 1e9:,.2f} GB of disk at most;\n{free['memory'] / 1e9:,.1f} GB and "
        f"{free['disk'] / 1e9:,.1f} GB are free.\n"
        "FLOPs: of one character, forward. s/M: seconds of updates for a million\n"
        "characters, timed now, one cell at a time. To begin and end takes each run\n"
        f"{plan['starting']:.1f} s. The time left is as good as that."
    )
