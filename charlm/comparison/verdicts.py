"""Verdicts: which cells are better than the reference, worse, or equivalent.

A verdict is about the recipe: trained with other seeds, tested on other text of the same kind.
Intervals and p values come from a studentized two-way bootstrap of seeds and blocks of text
(bootstrap.py).

Coverage of its 95 % intervals was measured where the truth is known: 6 to 10 seeds that differ by
0.001 to 0.05 bits, 20 to 500 blocks, noise that is normal or has skewness 1. They cover 93 to
97 %, and 97 to 98 % where all noise is an interaction of seed and block. Alternatives failed
there. The percentile bootstrap covers 83 to 93 % where seeds differ most, a bootstrap of seeds
alone 22 to 96 %, of blocks alone 6 to 96 %. A two-way t interval with Satterthwaite's degrees of
freedom does as well, but covers 88 % where seeds have skewness 2. This one covers 91 to 95 %.

Blocks of text are not independent. On python-docs, the difference of a small GRU and LSTM in a
block of 1,000 characters correlates by 0.5 with that in the next, and that of two n-grams by 0.7
to 0.8; on tiny Shakespeare, that of n-grams by 0.1 to 0.4. If blocks that correlate by 0.5 are
taken as independent, intervals cover 75 %. So a long text is cut into long blocks, and the rest
of the correlation reduces the number of blocks that count. Then intervals cover 91 to 93 % at
0.5, and 87 to 89 % at 0.7. Trust an interval less where text dominates and is homogeneous.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from charlm.comparison.bootstrap import (
    DifferenceEstimate,
    draw_resampling_weights,
    estimate_difference,
    studentized_bootstrap,
)
from charlm.comparison.request import DEFAULT_MARGIN
from charlm.evaluation.blocks import MIN_BLOCK_LENGTH, Numbers
from charlm.results.comparison import InsufficientData, Label, Power, Verdict

SIGNIFICANCE_LEVEL = 0.05  # familywise error rate
POWER = 0.8
# A sign-flip test, which assumes nothing about the noise, has p >= 2 / 2^5 = 6 % with 5 seeds.
MIN_SEEDS = 6
MIN_BLOCKS = 20


def compute_verdicts(
    bits: Mapping[str, Numbers],
    lengths: NDArray[np.int64],
    reference: str,
    margin: float = DEFAULT_MARGIN,
    seed: int = 0,
) -> dict[str, Verdict]:
    """Compare every cell with the reference.

    Seeds are paired over cells, and so are blocks. A cell with a seed that diverged (infinite
    bits) has no mean: what its other seeds did is no evidence. Tests of a difference and of
    equivalence are each corrected for the number of cells, diverged ones included. The result
    depends on the arguments alone.

    Args:
        bits: Cell -> bits of each block, (seeds, blocks).
        lengths: Characters of each block, (blocks,).
        reference: Cell that the others are compared with.
        margin: Smallest relevant difference in bits per character.
        seed: Of the resampling.

    Returns:
        Verdict of every cell but the reference.
    """
    seeds, blocks = bits[reference].shape
    diverged = {cell: int((~np.isfinite(values)).any(1).sum()) for cell, values in bits.items()}
    others = [cell for cell in bits if cell != reference]
    insufficient = check_sample_size(seeds, blocks, diverged[reference])
    weights = draw_resampling_weights(seeds, blocks, seed)
    tests = {}
    for cell in others:
        if not (insufficient or diverged[cell]):
            estimate = estimate_difference(bits[cell] - bits[reference], lengths)
            tests[cell] = estimate, studentized_bootstrap(estimate, weights)
    p_differ = holm_adjust(
        {cell: test.p_two_sided() for cell, (_, test) in tests.items()}, len(others)
    )
    p_tost = holm_adjust(
        {cell: test.p_tost(margin) for cell, (_, test) in tests.items()}, len(others)
    )

    verdicts = {}
    for cell in others:
        if diverged[cell]:
            verdicts[cell] = Verdict(label="diverged")
        elif diverged[reference]:
            verdicts[cell] = Verdict(label="inconclusive", insufficient=insufficient)
        elif insufficient:
            mean = float((bits[cell] - bits[reference]).mean(0).sum() / lengths.sum())
            verdicts[cell] = Verdict(
                label="inconclusive", insufficient=insufficient, difference=mean
            )
        else:
            estimate, test = tests[cell]
            label = _classify(estimate.mean, p_differ[cell], p_tost[cell])
            ci_low, ci_high = test.interval(SIGNIFICANCE_LEVEL)
            is_open = label == "inconclusive"
            verdicts[cell] = Verdict(
                label=label,
                difference=estimate.mean,
                ci_low=ci_low,
                ci_high=ci_high,
                p=test.p_two_sided(),
                p_holm=p_differ[cell],
                p_tost_holm=p_tost[cell],
                seed_std=estimate.seeds,
                text_se=estimate.text,
                power=_power(estimate, margin, len(others)) if is_open else None,
            )
    return verdicts


def _classify(mean: float, p_differ: float, p_tost: float) -> Label:
    """Return the label; a difference that is significant but below the margin is equivalence."""
    if p_tost <= SIGNIFICANCE_LEVEL:
        return "equivalent"
    if p_differ <= SIGNIFICANCE_LEVEL:
        return "better" if mean < 0 else "worse"
    return "inconclusive"


def holm_adjust(p: Mapping[str, float], tests: int) -> dict[str, float]:
    """Return p values adjusted for multiple tests; tests without a p value count as 1.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    adjusted, highest = {}, 0.0
    for rank, cell in enumerate(sorted(p, key=lambda cell: p[cell])):
        highest = max(highest, min(1.0, (tests - rank) * p[cell]))
        adjusted[cell] = highest
    return adjusted


def check_sample_size(seeds: int, blocks: int, diverged: int = 0) -> InsufficientData | None:
    """Return why no cell can be compared with the reference; None if it can.

    Args:
        seeds: Runs of each cell.
        blocks: Blocks of the test text.
        diverged: Runs of the reference that diverged.
    """
    if diverged:
        return InsufficientData(
            cause="reference_diverged", available=seeds - diverged, needed=seeds, diverged=diverged
        )
    if seeds < MIN_SEEDS:
        return InsufficientData(cause="seeds", available=seeds, needed=MIN_SEEDS)
    if blocks < MIN_BLOCKS:
        return InsufficientData(
            cause="blocks",
            available=blocks,
            needed=MIN_BLOCKS,
            characters_needed=MIN_BLOCKS * MIN_BLOCK_LENGTH,
        )
    return None


def required_seeds(estimate: DifferenceEstimate, margin: float, tests: int) -> int | None:
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
    return math.ceil(estimate.seeds**2 / seed_variance + z**2 / 2)


def _power(estimate: DifferenceEstimate, margin: float, tests: int) -> Power:
    """Return what it would take to detect a difference of the margin."""
    seeds = required_seeds(estimate, margin, tests)
    return Power(seeds=None if seeds is None else max(seeds, MIN_SEEDS))
