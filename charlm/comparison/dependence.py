"""Dependence of text units: how many independent ones a text is worth.

Files are exchangeable: their order is that of a hash. Neighboring blocks of a text are not
independent, so fewer of them count. How many is uncertain where there are 20 to 50 blocks, and an
interval that takes one estimate for the truth is too short. So the correlation is not estimated
but integrated over. Correlations below zero are as likely beforehand as those above: without them,
what looks like a correlation by chance would only ever make intervals longer.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation.blocks import Numbers

CORRELATIONS = np.arange(-19, 20) / 20  # of neighboring blocks
SMALLEST_SUM = float(np.finfo(np.float64).tiny)  # in place of zero: a cell against itself


class EffectiveUnits(NamedTuple):
    """Distribution of the number of independent units that have as uncertain a mean.

    Attributes:
        numbers: Possible numbers, (numbers,).
        probabilities: Of these numbers, (numbers,).
    """

    numbers: Numbers
    probabilities: Numbers

    @property
    def mean(self) -> float:
        """The number that gives the expected variance of the mean."""
        return float(1 / (self.probabilities @ (1 / self.numbers)))

    def draw(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw whole numbers, at least 2, with the same expectation, (count,)."""
        drawn = generator.choice(self.numbers, count, p=self.probabilities)
        whole = np.floor(drawn + generator.random(count)).astype(np.int64)
        return np.maximum(whole, 2)


def effective_units(
    by_unit: Numbers, counts: NDArray[np.float64], are_ordered: bool
) -> EffectiveUnits:
    """Return how many independent units of equal size a text is worth.

    Where few units have most of the counts, they are worth as few. The correlation of neighbors
    has its posterior distribution under Jeffreys' prior, for an autoregressive process of first
    order with unknown mean and variance.

    Args:
        by_unit: Deviation of each unit from the mean, in the order of the text, (units,).
        counts: What the mean is taken over, (units,).
        are_ordered: Whether neighbors may be alike: blocks, not files.

    Source: Kish (1965), "Survey sampling"; Zellner and Tiao (1964), "Bayesian analysis of the
        regression model with autocorrelated errors"; Harville (1974), "Bayesian inference for
        variance components", for the likelihood without the mean.
    """
    units = len(by_unit)
    of_equal_size = float(counts.sum()) ** 2 / float(counts @ counts)
    if not are_ordered:
        return EffectiveUnits(np.array([of_equal_size]), np.ones(1))
    projections, constants, numbers = _autoregressive_models(units)
    squares = np.maximum(np.einsum("i,kij,j->k", by_unit, projections, by_unit), SMALLEST_SUM)
    log_likelihood = constants - (units - 1) / 2 * np.log(squares)
    likelihood = np.exp(log_likelihood - log_likelihood.max())
    probabilities = likelihood / likelihood.sum()
    return EffectiveUnits(numbers * (of_equal_size / units), probabilities)


@cache
def _autoregressive_models(units: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return for each correlation what the likelihood needs, and the effective number of units.

    The first are matrices whose quadratic form is the sum of squared residuals about the best
    mean, (correlations, units, units).
    """
    lags = np.abs(np.subtract.outer(np.arange(units), np.arange(units)))
    covariance = CORRELATIONS[:, None, None] ** lags
    inverse = np.linalg.inv(covariance)
    ones = inverse.sum(1)
    information = ones.sum(1)
    projections = inverse - ones[:, :, None] * ones[:, None] / information[:, None, None]
    log_prior = -np.log(1 - CORRELATIONS**2) / 2
    constants = log_prior - (np.linalg.slogdet(covariance)[1] + np.log(information)) / 2
    return projections, constants, units**2 / covariance.sum((1, 2))
