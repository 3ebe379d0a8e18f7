"""How the cells of a comparison were tuned: what was chosen, and every trial."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from charlm.reporting.figures import (
    Figure,
    FigureSpec,
    LegendEntry,
    Series,
    draw_figure,
    make_legend,
)
from charlm.reporting.html.numbers import Row
from charlm.reporting.wording import (
    boundary_warnings,
    describe_trials,
    format_setting,
    format_tuning_row,
)

BITS = "bits per symbol, quick validation"
Tuning = dict[str, Any]


class TuningSection(NamedTuple):
    """What the page says of it."""

    told: str
    chosen: tuple[Row, list[Row]]  # heads and rows
    at_edge: list[str]
    drawn: list[Figure]
    trials: tuple[Row, list[Row]]


def tuning_section(tuning: Tuning, looks: Sequence[LegendEntry]) -> TuningSection:
    """looks: of the cells, as elsewhere on the page; what else was tuned comes after them."""
    others = [name for name in tuning["cells"] if name not in {look.group for look in looks}]
    looks = make_legend([*(look.group for look in looks), *others])
    rows = [
        format_tuning_row(cell, found, list(tuning["space"]))
        for cell, found in tuning["cells"].items()
    ]
    drawn = []
    if "learning_rate" in tuning["space"]:
        for number, cell in enumerate(tuning["cells"]):
            drawn += loss_by_learning_rate(number, tuning, cell)
    return TuningSection(
        f"{describe_trials(tuning)}; chosen on the validation split.",
        (list(rows[0]), [list(row.values()) for row in rows]),
        boundary_warnings(tuning),
        [*drawn, expected_best_figure(tuning, looks)],
        trial_table(tuning),
    )


def loss_by_learning_rate(number: int, tuning: Tuning, cell: str) -> list[Figure]:
    """A cell's loss against the learning rate: a point a trial, in another colour at each rung. One
    that costs more than a uniform code is only in the table; none is drawn where all do."""
    found = tuning["cells"][cell]
    ordered = sorted(found["trials"], key=lambda one: one["settings"]["learning_rate"])
    points = {
        f"{rung['max_steps']:,} updates": [
            (one["settings"]["learning_rate"], one["bits"][place])
            for one in ordered
            if len(one["bits"]) > place
        ]
        for place, rung in enumerate(tuning["rungs"])
    }
    taken = found["chosen"]
    points["chosen"] = [(taken["settings"]["learning_rate"], taken["bits"])]
    lines = []
    for name, there in points.items():
        bits = [None if y is None or y > tuning["uniform_bits"] else y for _, y in there]
        line = Series(
            name, name, [x for x, _ in there], bits, value_labels=[format_bits(y) for _, y in there]
        )
        lines += [line] if there else []  # none goes on where all diverged
    if all(y is None for line in lines for y in line.y):
        return []
    looks = make_legend([line.group for line in lines])
    plan = FigureSpec(cell, "learning rate", BITS, log_x=True, connect_points=False)
    return [draw_figure(f"tuning-{number}", plan, lines, looks)._replace(key=looks)]


def format_bits(bits: float | None) -> str:
    return "diverged" if bits is None else f"{bits:.4f}"


def expected_best_figure(tuning: Tuning, looks: Sequence[LegendEntry]) -> Figure:
    """The best validation to be expected of so many trials, for each cell."""
    updates = tuning["rungs"][0]["max_steps"]
    lines = [
        Series(cell, cell, range(1, tuning["trials"] + 1), found["expected_best"])
        for cell, found in tuning["cells"].items()
    ]
    plan = FigureSpec(f"Best to be expected, at {updates:,} updates", "trials", BITS)
    return draw_figure("tuning-expected", plan, lines, looks)._replace(key=looks)


def trial_table(tuning: Tuning) -> tuple[Row, list[Row]]:
    """Heads, and a row for each trial of each cell; empty where it did not go on."""
    names = list(tuning["space"])
    rungs = [one["max_steps"] for one in tuning["rungs"]]
    rows = []
    for cell, found in tuning["cells"].items():
        for one in found["trials"]:
            bits = [format_bits(bits) for bits in one["bits"]]
            said = [format_setting(one["settings"].get(name)) for name in names]
            rest = [""] * (len(rungs) - len(bits))
            rows.append([cell, f"{one['number']}", *said, *bits, *rest])
    heads = ["cell", "trial", *(name.replace("_", " ") for name in names)]
    return [*heads, *(f"bits after {updates:,}" for updates in rungs)], rows
