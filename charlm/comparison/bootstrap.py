"""What other seeds and other text might have shown: a bootstrap of both, for paired differences.

SciPy's bootstrap draws one level anew; seeds and blocks of text are two, and crossed.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation.blocks import Numbers

RESAMPLES = 9999
SMALLEST_VARIANCE = float(
    np.finfo(np.float64).tiny
)  # in place of no error at all: a cell beside itself


class ResamplingWeights(NamedTuple):
    """How much each seed, (resamples, seeds), and each block, (resamples, blocks), counts."""

    seeds: Numbers
    blocks: Numbers


def draw_resampling_weights(seeds: int, blocks: int, seed: int) -> ResamplingWeights:
    """Seeds and blocks drawn anew with replacement, each on its own: they are crossed, not nested,
    for every seed reads the same blocks (Owen 2007, The pigeonhole bootstrap)."""
    draw = np.random.default_rng(seed)
    drawn = (draw.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in (seeds, blocks))
    return ResamplingWeights(*drawn)


class DifferenceEstimate(NamedTuple):
    """A mean difference, and what makes it uncertain."""

    mean: float
    seeds: float  # standard deviation over seeds
    text: float  # standard error that no further seed would lessen
    residuals: Numbers  # (seeds, blocks): what each adds to the mean, as if blocks were independent


def estimate_difference(differences: Numbers, lengths: NDArray[np.int64]) -> DifferenceEstimate:
    """Bits that a cell needs more than another, (seeds, blocks), over characters, (blocks,)."""
    mean = differences.mean(0).sum() / lengths.sum()
    rest = (differences - mean * lengths) / lengths.mean()  # of a ratio, to first order
    seeds, blocks = rest.shape
    by_seed, by_block = rest.mean(1), rest.mean(0)
    alone = rest - by_seed[:, None] - by_block  # of neither seed nor block, but of the two together
    chance = (alone**2).sum() / ((seeds - 1) * (blocks - 1)) / seeds
    rest = rest + (_autocorrelation_inflation(by_block) - 1) * by_block
    text = max(0.0, rest.mean(0).var(ddof=1) - chance) / blocks
    return DifferenceEstimate(float(mean), float(by_seed.std(ddof=1)), float(text**0.5), rest)


def _autocorrelation_inflation(by_block: Numbers) -> float:
    """How much larger the error of a mean of blocks is, as they are like their neighbours.

    Such blocks are worth fewer. With r the correlation of each with the next, plus what so few
    hide of it (Marriott & Pope 1954), the variance is (1 + r) / (1 - r) times that of others.
    """
    blocks = len(by_block)
    r = float(by_block[1:] @ by_block[:-1]) / max(float(by_block @ by_block), SMALLEST_VARIANCE)
    r = min(max(r + (1 + 4 * r) / blocks, 0.0), 0.9)
    return math.sqrt((1 + r) / (1 - r))


class BootstrapDistribution(NamedTuple):
    """A mean difference, its standard error, and how far, in standard errors, resamples miss it."""

    mean: float
    error: float
    t_statistics: Numbers  # (resamples,)

    def interval(self, level: float) -> tuple[float, float]:
        """Wrong in one of 1 / level such differences."""
        high, low = np.quantile(self.t_statistics, [1 - level / 2, level / 2])
        return self.mean - float(high) * self.error, self.mean - float(low) * self.error

    def p_greater(self, value: float) -> float:
        """How likely at most a mean so high would be if the true one were this value."""
        away = (self.mean - value) / self.error
        return float(1 + (self.t_statistics >= away).sum()) / (1 + len(self.t_statistics))

    def p_less(self, value: float) -> float:
        """How likely at most a mean so low would be if the true one were this value."""
        away = (self.mean - value) / self.error
        return float(1 + (self.t_statistics <= away).sum()) / (1 + len(self.t_statistics))

    def p_two_sided(self) -> float:
        """Of no difference, two-sided."""
        return min(1.0, 2 * min(self.p_greater(0), self.p_less(0)))

    def p_tost(self, margin: float) -> float:
        """Of a difference as large as the margin or larger (two one-sided tests, TOST)."""
        return max(self.p_greater(-margin), self.p_less(margin))


def studentized_bootstrap(
    found: DifferenceEstimate, shares: ResamplingWeights
) -> BootstrapDistribution:
    """Each resample's mean in units of its own standard error: with few seeds that is uncertain,
    too, and leaving it out makes intervals too short."""
    error = _error(found.residuals.mean(1).var(), found.residuals.mean(0).var(), found.residuals)
    by_seed, by_block = shares.blocks @ found.residuals.T, shares.seeds @ found.residuals
    moved = (shares.seeds * by_seed).sum(1)
    of_seeds = (shares.seeds * by_seed**2).sum(1) - moved**2
    of_blocks = (shares.blocks * by_block**2).sum(1) - moved**2
    return BootstrapDistribution(
        found.mean, float(error), moved / _error(of_seeds, of_blocks, found.residuals)
    )


def _error(of_seeds: Numbers, of_blocks: Numbers, rest: Numbers) -> Numbers:
    """The standard error of a mean, from how seeds' and blocks' means vary (divided by n)."""
    seeds, blocks = rest.shape
    variance = of_seeds / (seeds - 1) + of_blocks / (blocks - 1)
    error: Numbers = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    return error
