"""Tasks as they are listed, shown and solved."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

from rich.text import Text

from charlm.config import describe_block
from charlm.console import escape_control_characters, print_result
from charlm.reporting.formatting import format_count
from charlm.reporting.terminal.comparison import print_budget_match
from charlm.reporting.terminal.tables import make_table, print_fields, print_table

COLUMNS = 80


def print_task_list(entries: Sequence[dict[str, Any]]) -> None:
    """A block a task."""
    for one in entries:
        print_result(one["task"])
        for name in ("question", "source", "distance", "chance", "oracle"):
            lines = textwrap.wrap(one[name], COLUMNS - 12)
            for line, margin in zip(lines, [name, *[""] * len(lines)], strict=False):
                print_result(f"  {margin:<9} {line}")
    print_result("\nNext: charlm tasks show TASK")


def print_task(report: dict[str, Any], doc: str) -> None:
    """The docstring, and an example as text: what is read, what is to be said, what counts."""
    print_result(textwrap.dedent(f"    {doc}").rstrip())
    example, letters = report["example"], report["letters"]
    if isinstance(example["x"][0], list):
        read = [f"{number:.2f}{letters[1] if mark else ' '}" for number, mark in example["x"]]
        said = ["" if answer is None else f"{answer:.2f} " for answer in example["y"]]
    else:
        read = [letters[symbol] for symbol in example["x"]]
        said = ["" if answer is None else letters[answer] for answer in example["y"]]
    width = max(map(len, read))
    marks = ["^" * width if asked else "" for asked in example["asked"]]
    print_result(f"\nA sequence of distance {report['at']} (^ is asked):\n")
    step = (COLUMNS - 10) // width
    for at in range(0, len(read), step):
        for margin, line in (("read", read), ("answer", said), ("", marks)):
            cells = "".join(f"{cell:<{width}}" for cell in line[at : at + step])
            print_result(f"{margin:<8} {cells}".rstrip())
    level = report["level"]
    print_result(f"\nchance   loss {level['loss']:.6f}, {level['accuracy']:.2%} right")
    print_result("oracle   loss 0, 100 % right")


def format_level_result(one: dict[str, Any]) -> str:
    """What came of a distance, on a line."""
    if not one["test"]:
        return f"distance {one['distance']}: diverged after {one['max_steps']:,} updates"
    word = "solved" if one["solved"] else "not solved"
    farther = ", ".join(f"{share:.1%} at {times}d" for times, share in one["farther"].items())
    return (
        f"distance {one['distance']}: {word} after {one['max_steps']:,} updates, "
        f"{one['test']['accuracy']:.1%} right, loss {one['test']['loss']:.2g}; {farther}"
        + (f"; {one['diverged']}" if one["diverged"] else "")
    )


def print_plan(planned: Sequence[Any], footing: Any, where: str, place: Path) -> None:
    """A comparison before its first climb."""
    first = planned[0]
    config = first.config
    steps = ", ".join(map(str, first.distances))
    print_fields(
        [
            ("task", f"{first.task}, at {steps}; at most {config.max_steps:,} updates each"),
            ("climbs", f"{len(planned)}, {where}; --lr {config.learning_rate:g} for every cell"),
            ("layers", f"{config.num_layers}; {describe_block(config.block)}"),
            ("kept in", str(place)),
        ]
    )
    print_budget_match(planned, footing)


def print_report(report: dict[str, Any]) -> None:
    """How far each cell came, best first; then what was seen at each distance."""
    seeds = len(report["rows"][0]["seeds"])
    table = make_table()
    for name in ("cell", "params", "hidden", "state", "FLOPs", "farthest", "of each seed"):
        table.add_column(name, justify="left" if name in ("cell", "of each seed") else "right")
    for row in report["rows"]:
        far = row["farthest"]
        table.add_row(
            Text(escape_control_characters(row["cell"])),
            f"{row['parameters']:,}",
            f"{row['hidden_size']}",
            f"{row['state_size']}",
            format_count(row["flops_per_character"]),
            f"{far['median']:g}",
            "  " + " ".join(map(str, sorted(far["per_seed"], reverse=True))),
        )
    print_table(table)
    table = make_table()
    for name in ("cell", "distance", "solved", "95 %", "updates", "right", "at 2d", "at 4d"):
        table.add_column(name, justify="left" if name == "cell" else "right")
    for row in report["rows"]:
        for one in row["distances"]:
            if one["tried"]:
                low, high = one["interval"]
                table.add_row(
                    Text(escape_control_characters(row["cell"])),
                    f"{one['distance']}",
                    f"{one['solved']}/{one['of']}",
                    f"{low:.2f}–{high:.2f}",
                    _over_seeds(one["max_steps"], "{:,.0f}", median_low),
                    _over_seeds(one["accuracy"], "{:.1%}", fmean),
                    *(_over_seeds(found, "{:.1%}", fmean) for found in one["farther"].values()),
                )
    print_result("")
    print_table(table)
    equal, settings = report["equal"], report["settings"]
    told = (
        f"{report['task']['name']}, {describe_block(settings['block'])}, {seeds} seed"
        f"{'s' if seeds > 1 else ''}, at most {equal['max_steps']:,} updates of "
        f"{settings['batch_size']} sequences a distance, one learning rate "
        f"{settings['learning_rate']:g}, not tuned for each cell. farthest: the lower median "
        "distance solved. solved: how many seeds, a seed that stopped before counting as not, with "
        "Wilson's interval. updates: lower median of the solved. right: mean of the tried; at 2d "
        f"and 4d without further training. Solved is: {report['solved_means']}."
    )
    print_result(textwrap.fill(told, COLUMNS))


def _over_seeds(values: Sequence[float | None], form: str, of: Any) -> str:
    known = [value for value in values if value is not None]
    return form.format(of(known)) if known else "-"
