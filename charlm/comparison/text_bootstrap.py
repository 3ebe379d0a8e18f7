"""Bootstrap interval of a mean over one text, for two runs without other seeds."""

import numpy as np

from charlm.comparison.bootstrap import RESAMPLES, SMALLEST_VARIANCE
from charlm.comparison.dependence import effective_units
from charlm.comparison.sample_size import SIGNIFICANCE_LEVEL
from charlm.evaluation.blocks import Numbers
from charlm.results.verdicts import MIN_UNITS


def text_interval(
    sums: Numbers, counts: Numbers, are_ordered: bool, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean per character, by a studentized bootstrap of units.

    It says how the mean varies with the text. It says nothing about other seeds of the runs.

    Args:
        sums: Of each unit, such as the bits that a run needs more than another, (units,).
        counts: Characters of each unit, (units,).
        are_ordered: Whether neighboring units may be alike: blocks, not files.
        seed: Of the resampling.

    Returns:
        Lower and upper bound; None if there are fewer than 20 units.

    Source: Bickel, Goetze and van Zwet (1997), "Resampling fewer than n observations".
    """
    sums, counts = sums[counts > 0], counts[counts > 0]
    units = len(counts)
    if units < MIN_UNITS:
        return None
    mean = sums.sum() / counts.sum()
    residuals = (sums - mean * counts) * (units / counts.sum())
    effective = effective_units(residuals, counts, are_ordered)
    generator = np.random.default_rng(seed)
    drawn = effective.draw(RESAMPLES, generator)
    weights = generator.multinomial(drawn, np.full(units, 1 / units)) / drawn[:, None]
    means = weights @ residuals
    variances = np.maximum(weights @ residuals**2 - means**2, SMALLEST_VARIANCE)
    divisor = effective.mean - 1
    t_statistics = means / np.sqrt(variances / divisor)
    error = np.sqrt(max(float(residuals.var()), SMALLEST_VARIANCE) / divisor)
    tail = SIGNIFICANCE_LEVEL / 2
    high, low = np.quantile(t_statistics, [1 - tail, tail])
    return float(mean - high * error), float(mean - low * error)
