"""Which cells are better than a baseline, worse or equivalent, as far as seeds and text carry it.

It is about the recipe: trained with other seeds, on other text like this. Intervals and tests are
those of a studentised bootstrap of seeds and blocks of text (resample.py). Where the truth is
known (6 to 10 seeds that differ by 0.001 to 0.05 bits, 20 to 500 blocks, noise normal or of
skewness 1) its 95 % intervals cover 93 to 97 %, and 97 to 98 % where nothing but chance between
seed and block makes the noise. What failed there: the bootstrap's percentiles cover 83 to 93 %
where seeds differ most; of seeds alone 22 to 96 %, of blocks alone 6 to 96 %. A t interval of both
with Satterthwaite's degrees of freedom does as well, but covers 88 % where seeds have skewness 2:
this one 91 to 95 %.

Text is not drawn block by block. On python-docs the difference of a small GRU and LSTM in a block
of 1,000 characters correlates with that in the next by 0.5, of two n-grams by 0.7 to 0.8; on tiny
Shakespeare, of n-grams, by 0.1 to 0.4. Taken as independent, blocks correlated by 0.5 give
intervals that cover 75 %. So a long text is cut into long blocks, and what is left of the likeness
makes them count as fewer: 91 to 93 % at 0.5, 87 to 89 % at 0.7. Where text decides and is all of
one kind, believe an interval that much less.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.comparison.bootstrap import (
    DifferenceEstimate,
    draw_resampling_weights,
    estimate_difference,
    studentized_bootstrap,
)
from charlm.evaluation.blocks import MIN_BLOCK_LENGTH, Numbers

EQUIVALENCE_MARGIN = 0.01  # bits per character: a difference below it makes none
SIGNIFICANCE_LEVEL = 0.05  # of a false verdict, among all cells together
POWER = 0.8
# A test that assumes nothing of the noise, by flipping signs, has p >= 2 / 2^5 = 6 % with 5 seeds.
MIN_SEEDS = 6
MIN_BLOCKS = 20


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A cell beside the baseline, in bits per character; None where it cannot be told."""

    verdict: str  # better, worse, equivalent, inconclusive, or diverged k of n
    note: str = ""  # what a conclusion would take
    difference: float | None = None  # mean over seeds; below 0 the cell is better
    ci_low: float | None = None  # 95 % interval of this difference alone
    ci_high: float | None = None
    p: float | None = None  # of no difference, for this cell alone,
    p_holm: float | None = None  # and among all cells (Holm 1979)
    p_tost_holm: float | None = None  # of a difference of the margin or more, among all cells
    seed_std: float | None = None  # standard deviation of the difference over seeds
    text_standard_error: float | None = None  # standard error that no further seed would lessen


def compute_verdicts(
    bits: Mapping[str, Numbers],
    lengths: NDArray[np.int64],
    baseline: str,
    margin: float = EQUIVALENCE_MARGIN,
    seed: int = 0,
) -> dict[str, Verdict]:
    """What every other cell's bits of each block, (seeds, blocks), say beside the baseline's.

    Seeds are paired over cells, and so are blocks, of these lengths in characters. A seed that
    diverged has infinite bits: its cell has no mean, and that others did well is no evidence.
    Better and worse are corrected for the number of cells, and so is equivalent; every cell counts.
    The same arguments give the same verdicts.
    """
    seeds, blocks = bits[baseline].shape
    diverged = {cell: int((~np.isfinite(of)).any(1).sum()) for cell, of in bits.items()}
    others = [cell for cell in bits if cell != baseline]
    missing = insufficient_data_reason(seeds, blocks, diverged[baseline])
    drawn = draw_resampling_weights(seeds, blocks, seed)
    tests = {}
    for cell in others:
        if not (missing or diverged[cell]):
            found = estimate_difference(bits[cell] - bits[baseline], lengths)
            tests[cell] = found, studentized_bootstrap(found, drawn)
    unequal = holm_adjust(
        {cell: one.p_two_sided() for cell, (_, one) in tests.items()}, len(others)
    )
    beyond = holm_adjust(
        {cell: one.p_tost(margin) for cell, (_, one) in tests.items()}, len(others)
    )

    concluded = {}
    for cell in others:
        if diverged[cell]:
            concluded[cell] = Verdict(verdict=f"diverged {diverged[cell]} of {seeds}")
        elif diverged[baseline]:
            concluded[cell] = Verdict(verdict="inconclusive", note=missing)
        elif missing:
            mean = float((bits[cell] - bits[baseline]).mean(0).sum() / lengths.sum())
            concluded[cell] = Verdict(verdict="inconclusive", note=missing, difference=mean)
        else:
            found, one = tests[cell]
            word = _classify(found.mean, unequal[cell], beyond[cell])
            low, high = one.interval(SIGNIFICANCE_LEVEL)
            concluded[cell] = Verdict(
                verdict=word,
                note=_power_note(found, margin, len(others)) if word == "inconclusive" else "",
                difference=found.mean,
                ci_low=low,
                ci_high=high,
                p=one.p_two_sided(),
                p_holm=unequal[cell],
                p_tost_holm=beyond[cell],
                seed_std=found.seeds,
                text_standard_error=found.text,
            )
    return concluded


def _classify(mean: float, unequal: float, beyond: float) -> str:
    """A difference that is sure, but surely below the margin, is none: equivalent comes first."""
    if beyond <= SIGNIFICANCE_LEVEL:
        return "equivalent"
    if unequal <= SIGNIFICANCE_LEVEL:
        return "better" if mean < 0 else "worse"
    return "inconclusive"


def holm_adjust(p: Mapping[str, float], tests: int) -> dict[str, float]:
    """p values adjusted for that many tests, of which those not given show nothing (Holm 1979)."""
    adjusted, highest = {}, 0.0
    for place, cell in enumerate(sorted(p, key=lambda cell: p[cell])):
        highest = max(highest, min(1.0, (tests - place) * p[cell]))
        adjusted[cell] = highest
    return adjusted


def insufficient_data_reason(seeds: int, blocks: int, diverged: int = 0) -> str:
    """Why no cell can be told from the baseline; empty if it can."""
    if diverged:
        return f"the baseline diverged in {diverged} of {seeds} seeds: choose another"
    if seeds < MIN_SEEDS:
        return f"{MIN_SEEDS} seeds or more are needed, there are {seeds}"
    if blocks < MIN_BLOCKS:
        least = MIN_BLOCKS * MIN_BLOCK_LENGTH
        return (
            f"a test text of {least:,} characters or more is needed: "
            f"this has {blocks} of {MIN_BLOCKS} blocks"
        )
    return ""


def required_seeds(found: DifferenceEstimate, margin: float, tests: int) -> int | None:
    """Seeds that would show a difference of the margin in 4 of 5 tries, in the strictest of tests;
    None if no number would, as the text is too short (Guenther 1981, Sample size formulas)."""
    z = NormalDist().inv_cdf(1 - SIGNIFICANCE_LEVEL / tests / 2)
    error = margin / (z + NormalDist().inv_cdf(POWER))
    room = error**2 - found.text**2
    return math.ceil(found.seeds**2 / room + z**2 / 2) if room > 0 else None


def _power_note(found: DifferenceEstimate, margin: float, tests: int) -> str:
    """What it would take to tell a difference of the margin, at the spread that was seen."""
    seeds = required_seeds(found, margin, tests)
    if seeds is None:
        return f"the test text is too short to tell {margin:g} bits, whatever the seeds"
    return f"about {max(seeds, MIN_SEEDS)} seeds would tell {margin:g} bits"
