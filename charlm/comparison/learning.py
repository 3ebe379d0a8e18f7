"""Validation of a run: at parts of its budget, each with a decayed rate, and at its best."""

from fractions import Fraction

from charlm.comparison.entries import PlannedRun
from charlm.runs.metrics import load_branches, load_validation_curve
from charlm.runs.run import Run


def bits_at(run: PlannedRun, fraction: Fraction) -> float | None:
    """Return the validation bits of a run after a part of its budget; None if it diverged."""
    if fraction < 1:
        by_fraction = {branch.fraction: branch.valid_bits for branch in load_branches(run.path)}
        return by_fraction.get(float(fraction))
    curve = load_validation_curve(run.path)
    return curve[-1].bits if curve and Run(run.path).report else None


def lowest_bits(run: PlannedRun) -> float | None:
    """Return the lowest validation bits of a run that has ended; None if it diverged."""
    report = Run(run.path).report
    return report.best_valid_bits if report else None
