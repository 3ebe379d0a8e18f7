"""Two-way (seeds x units of text) bootstrap of a mean, or of a mean of paired differences.

SciPy's bootstrap resamples one level; here seeds and units of text are two crossed levels, and
the text is worth fewer units than it has where neighbors are alike (dependence.py).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.comparison.dependence import EffectiveUnits, effective_units
from charlm.evaluation.blocks import Numbers

RESAMPLES = 9999
SMALLEST_VARIANCE = float(np.finfo(np.float64).tiny)  # in place of zero: a cell against itself


class MeanEstimate(NamedTuple):
    """A mean per character, word or place, and the components of its uncertainty.

    Attributes:
        mean: Total of all units over their total count, mean over seeds.
        seeds: Standard deviation over seeds.
        text: Standard error that more seeds would not reduce.
        residuals: Contributions to the mean, (seeds, units); their mean is 0.
        effective: How many independent units the text is worth.
    """

    mean: float
    seeds: float
    text: float
    residuals: Numbers
    effective: EffectiveUnits


def estimate_mean(sums: Numbers, counts: NDArray[np.float64], are_ordered: bool) -> MeanEstimate:
    """Estimate a mean and its variance components.

    A unit that is much longer than the others draws the mean to itself. Its residual is enlarged
    by what it would be if the mean had been taken without it.

    Args:
        sums: Of each seed and unit, such as the bits that a cell needs more than another.
        counts: What the sums are divided by, such as characters, (units,).
        are_ordered: Whether neighboring units may be alike.

    Source: MacKinnon and White (1985), "Some heteroskedasticity-consistent covariance matrix
        estimators", HC3.
    """
    total = counts.sum()
    units = len(counts)
    by_seed = sums.sum(1) / total
    mean = float(by_seed.mean())
    residuals = (sums - mean * counts) * (units / total)
    residuals *= (1 - 1 / units) / (1 - counts / total)
    residuals -= residuals.mean()
    by_unit = residuals.mean(0)
    effective = effective_units(by_unit, counts, are_ordered)
    interaction = residuals - residuals.mean(1)[:, None] - by_unit
    seeds = len(by_seed)
    noise = (interaction**2).mean() / (seeds - 1)
    text = max(0.0, by_unit.var() - noise) / (effective.mean - 1)
    return MeanEstimate(mean, float(by_seed.std(ddof=1)), math.sqrt(text), residuals, effective)


class BootstrapDistribution(NamedTuple):
    """Studentized bootstrap distribution of a mean.

    Attributes:
        mean: The mean.
        error: Its standard error.
        t_statistics: Deviations of the resamples in their standard errors, (resamples,).
    """

    mean: float
    error: float
    t_statistics: Numbers

    def interval(self, level: float) -> tuple[float, float]:
        """Return the confidence interval of coverage 1 - level."""
        high, low = np.quantile(self.t_statistics, [1 - level / 2, level / 2])
        return self.mean - float(high) * self.error, self.mean - float(low) * self.error

    def p_greater(self, value: float) -> float:
        """Return the p value of a true mean of at most `value`."""
        distance = (self.mean - value) / self.error
        return float(1 + (self.t_statistics >= distance).sum()) / (1 + len(self.t_statistics))

    def p_less(self, value: float) -> float:
        """Return the p value of a true mean of at least `value`."""
        distance = (self.mean - value) / self.error
        return float(1 + (self.t_statistics <= distance).sum()) / (1 + len(self.t_statistics))

    def p_two_sided(self) -> float:
        """Return the two-sided p value of no difference."""
        return min(1.0, 2 * min(self.p_greater(0), self.p_less(0)))

    def p_tost(self, margin: float) -> float:
        """Return the p value of a difference of at least the margin (two one-sided tests)."""
        return max(self.p_greater(-margin), self.p_less(margin))


def studentized_bootstrap(estimate: MeanEstimate, seed: int) -> BootstrapDistribution:
    """Return each resample's deviation from the mean in units of its own standard error.

    Seeds and units are resampled with replacement, independently of each other: every seed reads
    the same units. A resample has as many units as the text may be worth, so that intervals are
    long where few count, and where it is uncertain how many. With few seeds the standard error is
    uncertain as well; ignoring that makes intervals too short.

    Args:
        estimate: The mean and its residuals.
        seed: Of the resampling.

    Source: Owen (2007), "The pigeonhole bootstrap"; Bickel, Goetze and van Zwet (1997),
        "Resampling fewer than n observations".
    """
    generator = np.random.default_rng(seed)
    residuals, effective = estimate.residuals, estimate.effective
    seeds, units = residuals.shape
    drawn = effective.draw(RESAMPLES, generator)
    seed_weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    unit_weights = generator.multinomial(drawn, np.full(units, 1 / units)) / drawn[:, None]
    of_resamples = _variances(residuals, seed_weights, unit_weights)
    even = np.full((1, seeds), 1 / seeds), np.full((1, units), 1 / units)
    of_sample = _variances(residuals, *even)
    divisors = seeds - 1, effective.mean - 1
    t_statistics = of_resamples.mean / _standard_error(of_resamples, *divisors)
    error = _standard_error(of_sample, *divisors)[0]
    return BootstrapDistribution(estimate.mean, float(error), t_statistics)


class Variances(NamedTuple):
    """Mean and variances of resamples, each (resamples,).

    Attributes:
        mean: Weighted mean of all residuals.
        by_seed: Variance of the means of seeds.
        by_unit: Variance of the means of units.
        interaction: Variance that is in neither.
    """

    mean: Numbers
    by_seed: Numbers
    by_unit: Numbers
    interaction: Numbers


def _variances(residuals: Numbers, seed_weights: Numbers, unit_weights: Numbers) -> Variances:
    """Return the mean and the variances of each resample.

    Args:
        residuals: Of seeds and units, (seeds, units).
        seed_weights: Of each seed in each resample, (resamples, seeds).
        unit_weights: Of each unit in each resample, (resamples, units).
    """

    def mean(values: Numbers) -> Numbers:
        total: Numbers = (seed_weights * (unit_weights @ values.T)).sum(1)
        return total

    deviation = mean(residuals)
    by_seed = (seed_weights * (unit_weights @ residuals.T) ** 2).sum(1) - deviation**2
    by_unit = (unit_weights * (seed_weights @ residuals) ** 2).sum(1) - deviation**2
    interaction = mean(residuals**2) - deviation**2 - by_seed - by_unit
    return Variances(deviation, by_seed, by_unit, interaction)


def _standard_error(variances: Variances, seeds: float, units: float) -> Numbers:
    """Return the standard error of a mean from its variances and their divisors.

    The interaction of seeds and units is in both variances, and counts once.

    Source: Cameron, Gelbach and Miller (2011), "Robust inference with multiway clustering".
    """
    of_seeds, of_units = variances.by_seed / seeds, variances.by_unit / units
    larger = np.maximum(of_seeds, of_units)
    variance = np.maximum(of_seeds + of_units - variances.interaction / (seeds * units), larger)
    error: Numbers = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    return error
