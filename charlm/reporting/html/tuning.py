"""Tuning of a comparison's cells on its page: chosen settings, and every trial."""

from collections.abc import Sequence
from typing import NamedTuple

from charlm.reporting.figures import (
    Figure,
    FigureSpec,
    LegendEntry,
    Series,
    draw_figure,
    make_legend,
)
from charlm.reporting.html.numbers import Row
from charlm.reporting.wording.tuning import (
    boundary_warnings,
    describe_rung,
    describe_trials,
    format_setting,
    format_tuning_row,
)
from charlm.results.tuning import CellTuning, TuningReport

BITS = "bits per token, subsampled validation"


class TuningSection(NamedTuple):
    """The tuning part of a page."""

    summary: str
    chosen: tuple[Row, list[Row]]  # heads and rows
    warnings: list[str]
    figures: list[Figure]
    trials: tuple[Row, list[Row]]


def tuning_section(tuning: TuningReport, legend: Sequence[LegendEntry]) -> TuningSection:
    """Return the tuning part of a page.

    Args:
        tuning: The search and its results.
        legend: Colors of the cells on the page; other tuned entries get the next ones.
    """
    in_page = [entry.group for entry in legend]
    legend = make_legend([*in_page, *(name for name in tuning.cells if name not in in_page)])
    names = list(tuning.search.space)
    rows = [format_tuning_row(cell, found, names) for cell, found in tuning.cells.items()]
    figures = []
    if "learning_rate" in tuning.search.space:
        for number, cell in enumerate(tuning.cells):
            figures += loss_by_learning_rate(number, tuning, cell)
    return TuningSection(
        summary=f"{describe_trials(tuning.search)}; chosen on the validation split.",
        chosen=(list(rows[0]), [list(row.values()) for row in rows]),
        warnings=boundary_warnings(tuning),
        figures=[*figures, expected_best_figure(tuning, legend)],
        trials=trial_table(tuning),
    )


def loss_by_learning_rate(number: int, tuning: TuningReport, cell: str) -> list[Figure]:
    """Draw a cell's loss against the learning rate: a point per trial, a color per rung.

    A trial that costs more than a uniform code is only in the table. If all do, there is no figure.
    """
    lines = [
        Series(
            name,
            name,
            [rate for rate, _ in points],
            [
                None if bits is None or bits > tuning.uniform_baseline_bits else bits
                for _, bits in points
            ],
            value_labels=[format_bits(bits) for _, bits in points],
        )
        for name, points in _points_by_rung(tuning, tuning.cells[cell]).items()
        if points  # a rung that no trial reached, as all diverged, has none
    ]
    if all(y is None for line in lines for y in line.y):
        return []
    legend = make_legend([line.group for line in lines])
    spec = FigureSpec(cell, "learning rate", BITS, log_x=True, connect_points=False)
    return [draw_figure(f"tuning-{number}", spec, lines, legend)._replace(legend=legend)]


def _points_by_rung(
    tuning: TuningReport, found: CellTuning
) -> dict[str, list[tuple[float, float | None]]]:
    """Return learning rate and bits of all trials, by rung; then those of the chosen trials."""
    trials = [trial for seed in found.seeds for trial in seed.trials]
    ordered = sorted(trials, key=lambda trial: float(trial.settings["learning_rate"]))
    points: dict[str, list[tuple[float, float | None]]] = {
        describe_rung(rung): [
            (float(trial.settings["learning_rate"]), trial.bits[number])
            for trial in ordered
            if len(trial.bits) > number
        ]
        for number, rung in enumerate(tuning.search.rungs)
    }
    points["chosen"] = [
        (float(seed.chosen.settings["learning_rate"]), seed.chosen.bits) for seed in found.seeds
    ]
    return points


def format_bits(bits: float | None) -> str:
    """Return the bits of a trial."""
    return "diverged" if bits is None else f"{bits:.4f}"


def expected_best_figure(tuning: TuningReport, legend: Sequence[LegendEntry]) -> Figure:
    """Draw the expected best validation of each run against the number of trials."""
    lines = [
        Series(
            f"{cell} seed {seed.seed}",
            cell,
            range(1, len(seed.expected_best) + 1),
            seed.expected_best,
        )
        for cell, found in tuning.cells.items()
        for seed in found.seeds
    ]
    spec = FigureSpec(f"Expected best at {describe_rung(tuning.search.rungs[0])}", "trials", BITS)
    return draw_figure("tuning-expected", spec, lines, legend)._replace(legend=legend)


def trial_table(tuning: TuningReport) -> tuple[Row, list[Row]]:
    """Return heads, and a row per trial of each run; empty at rungs that it did not reach."""
    names, rungs = list(tuning.search.space), tuning.search.rungs
    rows = []
    for cell, found in tuning.cells.items():
        for seed in found.seeds:
            for trial in seed.trials:
                bits = [format_bits(value) for value in trial.bits]
                settings = [format_setting(trial.settings.get(name)) for name in names]
                unreached = [""] * (len(rungs) - len(bits))
                rows.append([cell, f"{seed.seed}", f"{trial.number}", *settings, *bits, *unreached])
    heads = ["cell", "seed", "trial", *(name.replace("_", " ") for name in names)]
    return [*heads, *(f"bits, {describe_rung(rung)}" for rung in rungs)], rows
