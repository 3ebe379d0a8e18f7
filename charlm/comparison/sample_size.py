"""Sample size: seeds and units that a verdict needs, and what the data could decide."""

import math
from statistics import NormalDist

from charlm.comparison.bootstrap import BootstrapDistribution, MeanEstimate
from charlm.data.units import MIN_BLOCK_LENGTH
from charlm.results.text import UnitKind
from charlm.results.verdicts import MIN_UNITS, InsufficientData, Power

SIGNIFICANCE_LEVEL = 0.05  # familywise error rate
POWER = 0.8
# A sign-flip test, which assumes nothing about the noise, has p >= 2 / 2^5 = 6 % with 5 seeds.
MIN_SEEDS = 6


def check_sample_size(
    seeds: int, units: int, unit_kind: UnitKind = "block"
) -> InsufficientData | None:
    """Return why no cell can be compared with the reference; None if it can.

    Args:
        seeds: Runs of each cell.
        units: Units of the test text.
        unit_kind: What a unit is. Only blocks become more with more characters alone.
    """
    if seeds < MIN_SEEDS:
        return InsufficientData(cause="seeds", available=seeds, needed=MIN_SEEDS)
    if units < MIN_UNITS:
        characters = MIN_UNITS * MIN_BLOCK_LENGTH if unit_kind == "block" else None
        return InsufficientData(
            cause="units", available=units, needed=MIN_UNITS, characters_needed=characters
        )
    return None


def required_seeds(estimate: MeanEstimate, margin: float, tests: int) -> int | None:
    """Return the seeds that detect a difference of the margin with a power of 80 %.

    That is for the strictest of the corrected tests. None if no number would do, as the text is
    too short.

    Source: Guenther (1981), "Sample size formulas for normal theory T tests".
    """
    z = NormalDist().inv_cdf(1 - SIGNIFICANCE_LEVEL / tests / 2)
    error = margin / (z + NormalDist().inv_cdf(POWER))
    seed_variance = error**2 - estimate.text**2
    if seed_variance <= 0:
        return None
    return max(MIN_SEEDS, math.ceil(estimate.seeds**2 / seed_variance + z**2 / 2))


def describe_power(
    estimate: MeanEstimate, distribution: BootstrapDistribution, margin: float, tests: int
) -> Power:
    """Return what it would take to decide about a difference, for the strictest of the tests.

    Args:
        estimate: The difference and the components of its uncertainty.
        distribution: Its bootstrap distribution.
        margin: Smallest relevant difference.
        tests: That are corrected for.
    """
    # The interval of coverage 1 - 2 a lies within a margin where both one-sided tests reject.
    ends = distribution.interval(2 * SIGNIFICANCE_LEVEL / tests)
    return Power(
        seeds=required_seeds(estimate, margin, tests),
        smallest_margin=max(abs(end) for end in ends),
    )
