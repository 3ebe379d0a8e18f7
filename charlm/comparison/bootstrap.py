"""Two-way (seeds x text blocks) bootstrap of paired differences.

SciPy's bootstrap resamples one level; here seeds and blocks of text are two crossed levels.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation.blocks import Numbers

RESAMPLES = 9999
SMALLEST_VARIANCE = float(np.finfo(np.float64).tiny)  # in place of zero: a cell against itself


class ResamplingWeights(NamedTuple):
    """Weight of each seed, (resamples, seeds), and of each block, (resamples, blocks)."""

    seeds: Numbers
    blocks: Numbers


def draw_resampling_weights(seeds: int, blocks: int, seed: int) -> ResamplingWeights:
    """Resample seeds and blocks with replacement, independently of each other.

    They are crossed, not nested: every seed reads the same blocks.

    Source: Owen (2007), "The pigeonhole bootstrap".
    """
    generator = np.random.default_rng(seed)
    weights = (generator.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in (seeds, blocks))
    return ResamplingWeights(*weights)


class DifferenceEstimate(NamedTuple):
    """A mean difference and the components of its uncertainty.

    Attributes:
        mean: Mean difference in bits per character.
        seeds: Standard deviation over seeds.
        text: Standard error that more seeds would not reduce.
        residuals: Contributions to the mean, as if blocks were independent, (seeds, blocks).
    """

    mean: float
    seeds: float
    text: float
    residuals: Numbers


def estimate_difference(differences: Numbers, lengths: NDArray[np.int64]) -> DifferenceEstimate:
    """Estimate a mean difference and its variance components.

    Args:
        differences: Bits that a cell needs more than another, (seeds, blocks).
        lengths: Characters of each block, (blocks,).
    """
    mean = differences.mean(0).sum() / lengths.sum()
    residuals = (differences - mean * lengths) / lengths.mean()  # of a ratio, to first order
    seeds, blocks = residuals.shape
    by_seed, by_block = residuals.mean(1), residuals.mean(0)
    interaction = residuals - by_seed[:, None] - by_block
    noise = (interaction**2).sum() / ((seeds - 1) * (blocks - 1)) / seeds
    residuals = residuals + (_autocorrelation_inflation(by_block) - 1) * by_block
    text = max(0.0, residuals.mean(0).var(ddof=1) - noise) / blocks
    return DifferenceEstimate(float(mean), float(by_seed.std(ddof=1)), float(text**0.5), residuals)


def _autocorrelation_inflation(by_block: Numbers) -> float:
    """Return the factor by which correlation of neighboring blocks inflates a standard error.

    With r the correlation of adjacent blocks, corrected for the bias of few blocks, the variance
    is (1 + r) / (1 - r) times that of independent blocks.

    Source: Marriott and Pope (1954), "Bias in the estimation of autocorrelations".
    """
    blocks = len(by_block)
    r = float(by_block[1:] @ by_block[:-1]) / max(float(by_block @ by_block), SMALLEST_VARIANCE)
    r = min(max(r + (1 + 4 * r) / blocks, 0.0), 0.9)
    return math.sqrt((1 + r) / (1 - r))


class BootstrapDistribution(NamedTuple):
    """Studentized bootstrap distribution of a mean difference.

    Attributes:
        mean: Mean difference.
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


def studentized_bootstrap(
    estimate: DifferenceEstimate, weights: ResamplingWeights
) -> BootstrapDistribution:
    """Return each resample's deviation from the mean in units of its own standard error.

    With few seeds the standard error is uncertain as well; ignoring that makes intervals too
    short.
    """
    residuals = estimate.residuals
    error = _standard_error(residuals.mean(1).var(), residuals.mean(0).var(), residuals)
    by_seed, by_block = weights.blocks @ residuals.T, weights.seeds @ residuals
    deviation = (weights.seeds * by_seed).sum(1)
    seed_variance = (weights.seeds * by_seed**2).sum(1) - deviation**2
    block_variance = (weights.blocks * by_block**2).sum(1) - deviation**2
    t_statistics = deviation / _standard_error(seed_variance, block_variance, residuals)
    return BootstrapDistribution(estimate.mean, float(error), t_statistics)


def _standard_error(seed_variance: Numbers, block_variance: Numbers, residuals: Numbers) -> Numbers:
    """Return the standard error of a mean from the variances (over n) of seed and block means."""
    seeds, blocks = residuals.shape
    variance = seed_variance / (seeds - 1) + block_variance / (blocks - 1)
    error: Numbers = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    return error
