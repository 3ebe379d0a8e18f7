"""Budget section of the page of a comparison: points, curves and the bracket."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from charlm.reporting.figures import Figure, FigureSpec, LegendEntry, Series, draw_figure
from charlm.reporting.html.numbers import Row
from charlm.reporting.wording.rows import cell_rows
from charlm.reporting.wording.text import token_noun
from charlm.results.comparison import (
    Bracket,
    Budget,
    ComparisonReport,
    EntryRow,
    ValidationCurve,
    ValidationPoint,
)

TRAINING_FLOP_FACTOR = 3  # a backward pass costs as much as two forward passes
MAX_PLOTTED_BITS = 40  # twice the bits that any character needs, so the run is about to diverge


class _CurveAxis(NamedTuple):
    """An x axis of the learning curves."""

    label: str
    characters: bool  # whether it is proportional to the characters read, else to seconds
    flops: bool  # whether each character counts its training FLOPs


AXES = (
    _CurveAxis("characters read", characters=True, flops=False),
    _CurveAxis("seconds of training", characters=False, flops=False),
    _CurveAxis("training FLOPs", characters=True, flops=True),
)


def budget_figures(report: ComparisonReport, legend: Sequence[LegendEntry]) -> list[Figure]:
    """Draw the bits of each cell at all parts of the budget, if there are several."""
    points = report.budget.points if report.budget else ()
    if len(points) < 2:
        return []
    characters = [point.characters for point in points]
    lines = [
        Series(row.name, row.name, characters, [point.bits.get(row.name) for point in points])
        for row in report.cells
        if any(point.bits.get(row.name) is not None for point in points)
    ]
    if not lines:
        return []
    spec = FigureSpec(
        "At parts of the budget, each with a decayed learning rate",
        "characters read",
        f"bits per {_noun(report)}, validation, mean of seeds",
        log_x=True,
    )
    return [draw_figure("budget", spec, lines, legend)]


def learning_curves(
    report: ComparisonReport,
    curves: Mapping[str, Sequence[ValidationCurve]],
    legend: Sequence[LegendEntry],
) -> list[Figure]:
    """Draw validation against characters read, seconds and FLOPs."""
    bits = f"bits per {_noun(report)}, subsampled validation"
    figures = []
    for number, axis in enumerate(AXES):
        lines = [
            _curve_line(f"{row.name} seed {seed}", row, axis, curve)
            for row in cell_rows(report)
            for seed, curve in zip(row.seeds, curves[row.name], strict=True)
        ]
        # a run that diverged at once has no points
        lines = [line for line in lines if any(y is not None for y in line.y)]
        if lines:
            spec = FigureSpec("", axis.label, bits, log_x=True)
            figures.append(draw_figure(f"learning-{number}", spec, lines, legend))
    return figures


def _noun(report: ComparisonReport) -> str:
    return token_noun(str(report.settings.get("vocab", "")))


def _curve_line(name: str, row: EntryRow, axis: _CurveAxis, curve: ValidationCurve) -> Series:
    flops = TRAINING_FLOP_FACTOR * row.flops_per_character if axis.flops else 1.0

    def x(point: ValidationPoint) -> float:
        return point.characters * flops if axis.characters else point.seconds

    return Series(
        name,
        row.name,
        [x(point) for point in curve],
        [point.bits if point.bits < MAX_PLOTTED_BITS else None for point in curve],
    )


def bracket_table(budget: Budget | None) -> tuple[Row, list[Row]]:
    """Return heads and rows of the cells at other learning rates; no rows without any."""
    brackets = budget.bracket if budget else ()
    if not brackets:
        return [], []
    heads = [
        "cell",
        "characters",
        *(f"bits at {point.factor:g} ×" for point in brackets[0].points),
        *("seed SD", "recipe’s rate", "best / recipe’s", "95 % interval", "lost bits", ""),
    ]
    return heads, [_bracket_row(bracket) for bracket in brackets]


def _bracket_row(bracket: Bracket) -> Row:
    fit = bracket.fit
    return [
        bracket.cell,
        f"{bracket.characters:,}",
        *("diverged" if point.bits is None else f"{point.bits:.3f}" for point in bracket.points),
        "-" if bracket.seed_std is None else f"{bracket.seed_std:.3f}",
        f"{bracket.recipe_rate:.3g}",
        f"{fit.best:.2f}" if fit else "-",
        f"[{fit.ci_low:.2f}, {fit.ci_high:.2f}]" if fit else "",
        f"{fit.loss:.3f}" if fit else "-",
        "" if fit is None or fit.recipe_fits else "does not fit",
    ]
