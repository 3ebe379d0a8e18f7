"""Hyperparameter search in words: its cost, its choices, and warnings."""

from collections.abc import Sequence

from charlm.reporting.formatting import pluralize
from charlm.results.comparison import ComparisonReport
from charlm.results.tuning import CellTuning, SearchPlan, TuningReport


def describe_tuning(report: ComparisonReport) -> str:
    """Return how the cells got their settings."""
    rate = report.settings.get("learning_rate")  # missing where it was searched for each cell
    shared = "" if rate is None else f"one learning rate {format_setting(rate)}, "
    if report.tuning:
        return shared + ("the rest tuned for each cell" if shared else "tuned for each cell")
    return shared + "not tuned for each cell"


def describe_trials(search: SearchPlan) -> str:
    """Return the number of trials and their cost."""
    return (
        f"{pluralize(search.trials, 'trial')} of each cell, which cost "
        f"{search.cost_in_runs:.2g} times as much as one of its runs"
    )


def format_setting(value: float | str | None) -> str:
    """Return a setting; a dash where the cell has no such setting."""
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"


def format_tuning_row(cell: str, tuning: CellTuning, names: Sequence[str]) -> dict[str, str]:
    """Return the settings chosen for a cell by column head; names: the searched settings."""
    chosen = tuning.chosen
    diverged = sum(None in trial.bits for trial in tuning.trials)
    return {
        "cell": cell,
        **{name.replace("_", " "): format_setting(chosen.settings.get(name)) for name in names},
        "trial": f"{chosen.number}",
        "valid bits": "-" if chosen.bits is None else f"{chosen.bits:.3f}",
        "diverged": f"{diverged}",
    }


def boundary_warnings(tuning: TuningReport) -> list[str]:
    """Return a sentence for each cell with a search that was too narrow or found nothing."""
    space = tuning.search.space
    warnings = []
    for cell, cell_tuning in tuning.cells.items():
        if (
            cell_tuning.chosen.bits is None
            or cell_tuning.chosen.bits > tuning.uniform_baseline_bits
        ):
            option = "--lr-range" if "learning_rate" in space else "--lr"
            warnings.append(
                f"{cell}: not tuned, because no trial did better than a uniform code. Try lower "
                f"learning rates with {option}."
            )
        elif cell_tuning.at_boundary:
            low, high = (float(bound) for bound in space["learning_rate"])
            is_low = cell_tuning.at_boundary == "low"
            low, high = (low / 10, high) if is_low else (low, high * 10)
            warnings.append(
                f"{cell}: chosen at the edge of the range, so a {'lower' if is_low else 'higher'} "
                f"learning rate may be better. Try --lr-range {low:g}..{high:g}, or more --trials."
            )
    return warnings
