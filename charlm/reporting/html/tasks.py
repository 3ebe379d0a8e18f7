"""The page of cells on a task: how far each has come."""

from collections.abc import Sequence
from typing import Any

from charlm.config import describe_block, option_name
from charlm.reporting.figures import (
    Figure,
    FigureSpec,
    LegendEntry,
    Series,
    draw_figure,
    make_legend,
)
from charlm.reporting.formatting import format_count, format_number
from charlm.reporting.html import page
from charlm.results.comparison import Report

LevelSummary = dict[str, Any]  # what the seeds of a cell came to at one distance
TOLD = ("protocol", "distance", "oracle", "chance", "source")
X = "distance"


def render(report: Report, times: Report) -> bytes:
    """The page of a report of `charlm compare-cells --task`; times: of timing.json."""
    rows, task = report["rows"], report["task"]
    looks = make_legend([row["cell"] for row in rows])
    settings = report["settings"]
    return page.render_template(
        "tasks.html",
        report=report,
        command=times["command"],
        task=task,
        answer=summary_sentence(rows, report["distances"]),
        footing=(
            f"{report['equal']['told']}. Each cell and seed is trained anew at one distance after "
            f"another, by at most {report['equal']['max_steps']:,} updates of {settings['batch_size']} "
            f"sequences each, until one is not solved; {describe_block(settings['block'])}. One learning "
            f"rate, {settings['learning_rate']:g}, for every cell: it is not tuned for each."
        ),
        looks=looks,
        heads=["cell", "farthest", "by seed", "params", "hidden", "state", "FLOPs", "min"],
        rows=[
            [
                row["cell"],
                format_distance(row["farthest"]["median"]),
                ", ".join(format_distance(one) for one in row["farthest"]["per_seed"]),
                format_number(row["parameters"]),
                format_number(row["hidden_size"]),
                format_number(row["state_size"]),
                format_count(row["flops_per_character"]),
                f"{times['cells'][row['cell']]['minutes']:.1f}",
            ]
            for row in rows
        ],
        by_distance=distance_table(report),
        drawn=figures(report, looks),
        told=[(name, task[name]) for name in TOLD],
        settings=[(option_name(name), str(value)) for name, value in settings.items()],
    )


def format_distance(distance: float) -> str:
    return format_number(distance) if distance else "none"


def summary_sentence(rows: Sequence[Report], distances: Sequence[int]) -> str:
    """In a sentence or two."""
    best = rows[0]["farthest"]["median"]
    if not best:
        return f"Most seeds of each cell do not even solve distance {distances[0]:,}."
    names = [row["cell"] for row in rows if row["farthest"]["median"] == best]
    seeds = len(rows[0]["seeds"])
    of = f" in the lower median of {seeds} seeds" if seeds > 1 else ", with one seed"
    last = " It is the longest that was asked." if best == distances[-1] else ""
    return f"{', '.join(names)}: up to distance {format_number(best)}{of}.{last}"


def format_solved(at: LevelSummary) -> str:
    """How many seeds solved it, with Wilson's interval of their share."""
    low, high = at["interval"]
    return f"{at['solved']} of {at['of']} ({low:.0%} to {high:.0%})"


def distance_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a row for each distance, with its chance level; a column for each cell."""
    rows = report["rows"]
    return ["", "chance", *(row["cell"] for row in rows)], [
        [
            f"distance {chance['distance']:,}",
            f"{chance['accuracy']:.1%}",
            *(format_solved(row["distances"][place]) for row in rows),
        ]
        for place, chance in enumerate(report["chance"])
    ]


def figures(report: Report, looks: Sequence[LegendEntry]) -> list[Figure]:
    """By distance: what was solved, how much of it was right, and what it took."""
    rows, distances = report["rows"], report["distances"]
    solved = [
        Series(
            row["cell"],
            row["cell"],
            distances,
            [at["solved"] / at["of"] for at in row["distances"]],
            (
                [at["interval"][0] for at in row["distances"]],
                [at["interval"][1] for at in row["distances"]],
            ),
            [format_solved(at) for at in row["distances"]],
        )
        for row in rows
    ]
    drawn = [draw_figure("solved", FigureSpec("Solved", X, "share of seeds", True), solved, looks)]
    chance = Series("chance", "chance", distances, [one["accuracy"] for one in report["chance"]])
    own = make_legend([*(look.group for look in looks), chance.group])
    right = [*seed_series(report, "accuracy"), chance]
    plan = FigureSpec("Right answers", X, "share of what is asked", True)
    drawn.append(draw_figure("right", plan, right, own)._replace(key=own[-1:]))
    for times in rows[0]["distances"][0]["farther"]:
        if lines := seed_series(report, times):
            plan = FigureSpec(
                f"Right answers at {times} times the distance", X, "share, untrained there", True
            )
            drawn.append(draw_figure(f"right-{times}", plan, lines, looks))
    if updates := seed_series(report, "updates"):
        drawn.append(
            draw_figure(
                "updates",
                FigureSpec("TrainingProgress until solved", X, "updates", True),
                updates,
                looks,
            )
        )
    return drawn


def seed_series(report: Report, key: str) -> list[Series]:
    """What each seed came to at each distance, where it got there."""
    lines = [
        Series(
            f"{row['cell']} seed {seed}",
            row["cell"],
            report["distances"],
            [{**at, **at["farther"]}[key][place] for at in row["distances"]],
        )
        for row in report["rows"]
        for place, seed in enumerate(row["seeds"])
    ]
    return [line for line in lines if any(y is not None for y in line.y)]
