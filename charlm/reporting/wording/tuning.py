"""Hyperparameter search in words: its cost, its choices, and warnings."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from statistics import fmean

from charlm.reporting.formatting import pluralize
from charlm.results.comparison import ComparisonReport
from charlm.results.tuning import CellTuning, Rung, SearchPlan, SeedTuning, TuningReport
from charlm.settings.values import Setting


def describe_tuning(report: ComparisonReport) -> str:
    """Return how the cells got their settings."""
    rate = report.settings.get("learning_rate")  # missing where cells have different ones
    shared = f"one learning rate {format_setting(rate)}" if rate else ""
    if report.tuning:
        return f"{shared}, the rest tuned for each run" if shared else "tuned for each run"
    return f"{shared}, not tuned" if shared else "each cell with its recipe"


def describe_trials(search: SearchPlan) -> str:
    """Return the number of trials and their cost."""
    return (
        f"{pluralize(search.trials, 'trial')} for each run, drawn for it alone, which cost "
        f"{search.cost_in_runs:.2g} times as much as the run"
    )


def describe_rung(rung: Rung) -> str:
    """Return how long the trials of a rung are."""
    return f"{format_fraction(rung.fraction)} of the steps"


def format_fraction(fraction: float) -> str:
    """Return a part of the budget: "1/3", or "all"."""
    return "all" if fraction == 1 else str(Fraction(fraction).limit_denominator(100))


def format_setting(value: float | str | None) -> str:
    """Return a setting; a dash where the cell has no such setting."""
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"


def format_choices(values: Sequence[Setting | None]) -> str:
    """Return what was chosen over seeds: a range of numbers, or each choice and how often."""
    if all(isinstance(value, float) for value in values):
        numbers = [value for value in values if isinstance(value, float)]
        low, high = min(numbers), max(numbers)
        return f"{low:.3g}" if low == high else f"{low:.3g}–{high:.3g}"
    counts = Counter(map(format_setting, values))
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} × {value}" for value, count in counts.most_common())


def format_tuning_row(cell: str, tuning: CellTuning, names: Sequence[str]) -> dict[str, str]:
    """Return what was chosen for the runs of a cell; names: the searched settings."""
    chosen = [seed.chosen for seed in tuning.seeds]
    bits = [trial.bits for trial in chosen if trial.bits is not None]
    trials = [trial for seed in tuning.seeds for trial in seed.trials]
    diverged = sum(None in trial.bits for trial in trials)
    return {
        "cell": cell,
        **{
            name.replace("_", " "): format_choices([trial.settings.get(name) for trial in chosen])
            for name in names
        },
        "valid bits": f"{fmean(bits):.3f}" if bits else "-",
        "diverged": f"{diverged} of {len(trials)}",
    }


def boundary_warnings(tuning: TuningReport) -> list[str]:
    """Return a sentence for each cell with searches that were too narrow or found nothing."""
    space, warnings = tuning.search.space, []
    for cell, found in tuning.cells.items():
        failed = [seed for seed in found.seeds if _learned_nothing(seed, tuning)]
        if failed:
            option = "--lr-range" if "learning_rate" in space else "--learning-rate"
            warnings.append(
                f"{cell}: not tuned for {_share(failed, found)}, because no trial did better than "
                f"a uniform code. Try lower learning rates with {option}."
            )
        for end in ("low", "high"):
            at_edge = [s for s in found.seeds if s.at_boundary == end and s not in failed]
            if 2 * len(at_edge) <= len(found.seeds):  # not even half of them
                continue
            low, high = (float(bound) for bound in space["learning_rate"])
            low, high = (low / 10, high) if end == "low" else (low, high * 10)
            warnings.append(
                f"{cell}: chosen at the edge of the range for {_share(at_edge, found)}, so a "
                f"{'lower' if end == 'low' else 'higher'} learning rate may be better. Try "
                f"--lr-range {low:g}..{high:g}, or more --trials."
            )
    return warnings


def _learned_nothing(seed: SeedTuning, tuning: TuningReport) -> bool:
    return seed.chosen.bits is None or seed.chosen.bits > tuning.uniform_baseline_bits


def _share(seeds: Sequence[SeedTuning], tuning: CellTuning) -> str:
    return f"{len(seeds)} of {pluralize(len(tuning.seeds), 'run')}"
