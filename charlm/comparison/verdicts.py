"""Verdicts: which cells are better than another, worse, or equivalent.

A verdict is about the recipe: trained with other seeds, tested on other text of the same kind.
Intervals and p values come from a studentized two-way bootstrap of seeds and units of text
(bootstrap.py). `make coverage` measures where the truth is known how often its intervals hold
it; docs/explanation/statistics.md has the tables.

A seed that diverged has no value. Cells are compared on the seeds that neither of them lost, so
a verdict is about runs that do not diverge; how many do is reported beside it.
"""

from collections.abc import Collection, Hashable, Mapping
from itertools import combinations
from typing import NamedTuple, TypeVar

from charlm.comparison.bootstrap import BootstrapDistribution, MeanEstimate
from charlm.comparison.paired_sample import Counts, Pair, PairedSample
from charlm.comparison.sample_size import SIGNIFICANCE_LEVEL, describe_power
from charlm.evaluation.blocks import Numbers
from charlm.results.text import UnitKind
from charlm.results.verdicts import (
    MAX_PAIRED_CELLS,
    Judged,
    JudgedQuantity,
    Label,
    PairVerdict,
    Verdict,
)

Test = TypeVar("Test", bound=Hashable)
Tests = Mapping[Pair, tuple[MeanEstimate, BootstrapDistribution]]


class Judgement(NamedTuple):
    """Judgement of one quantity by the runs of a comparison.

    Attributes:
        cells: Every cell: its value, interval, and verdict against the reference.
        pairs: Verdicts on all pairs of at most four cells; else empty.
    """

    cells: dict[str, Judged]
    pairs: tuple[PairVerdict, ...]


def judge(
    values: Mapping[str, Numbers],
    counts: Counts,
    reference: str,
    margin: float,
    *,
    quantity: JudgedQuantity,
    unit_kind: UnitKind,
    higher_is_better: bool = False,
    bounds: Collection[str] = (),
    seed: int = 0,
) -> Judgement:
    """Judge a quantity that was measured for several cells, seeds and units of text.

    Seeds are paired over cells, and so are units. Tests of a difference and of equivalence are
    each corrected for the number of tests that are made. The result depends on the arguments
    alone.

    Args:
        values: Cell -> sums of each unit, (seeds, units). A seed with a sum that is not finite
            diverged.
        counts: What each unit's sum is divided by, (units,); units with 0 are left out.
        reference: Cell that the others are compared with.
        margin: Smallest relevant difference.
        quantity: Name of the quantity.
        unit_kind: What a unit is. Neighboring blocks may be alike, files and lines are not.
        higher_is_better: Whether a higher value is the better one.
        bounds: Cells whose value is a bound, so that they cannot be equivalent to others.
        seed: Of the resampling.

    Returns:
        Value and verdict of every cell, and verdicts on all pairs of at most four cells.
    """
    sample = PairedSample.build(values, counts, unit_kind, seed)
    others = [cell for cell in values if cell != reference]
    pairs = [(cell, reference) for cell in others]
    has_all_pairs = 2 <= len(values) <= MAX_PAIRED_CELLS
    if has_all_pairs:
        pairs += [(cell, other) for other, cell in combinations(others, 2)]
    tests = {pair: sample.test(pair) for pair in pairs if not sample.insufficient(pair)}
    verdicts = _judge_tests(tests, margin, higher_is_better, bounds)
    verdicts |= {pair: _without_test(sample, pair) for pair in pairs if pair not in tests}
    is_lost = not sample.finished[reference].any()
    of_reference = Verdict(label="diverged" if is_lost else "reference")

    def judged(cell: str) -> Judged:
        low, high = sample.interval(cell) or (None, None)
        verdict = verdicts[cell, reference] if cell in others else of_reference
        return Judged(value=sample.summary(cell), ci_low=low, ci_high=high, verdict=verdict)

    return Judgement(
        {cell: judged(cell) for cell in values},
        tuple(
            PairVerdict(quantity=quantity, cell=cell, other=other, verdict=verdicts[cell, other])
            for cell, other in (pairs if has_all_pairs else ())
        ),
    )


def _judge_tests(
    tests: Tests, margin: float, higher_is_better: bool, bounds: Collection[str]
) -> dict[Pair, Verdict]:
    """Return the verdict of each test, corrected for their number."""

    def p_tost(pair: Pair) -> float:
        return 1.0 if set(pair) & set(bounds) else tests[pair][1].p_tost(margin)

    p_differ = holm_adjust({pair: test.p_two_sided() for pair, (_, test) in tests.items()})
    p_equivalent = holm_adjust({pair: p_tost(pair) for pair in tests})
    verdicts = {}
    for pair, (estimate, test) in tests.items():
        label = _classify(estimate.mean, p_differ[pair], p_equivalent[pair], higher_is_better)
        is_open = label == "inconclusive" and not set(pair) & set(bounds)
        ci_low, ci_high = test.interval(SIGNIFICANCE_LEVEL)
        verdicts[pair] = Verdict(
            label=label,
            difference=estimate.mean,
            ci_low=ci_low,
            ci_high=ci_high,
            p=test.p_two_sided(),
            p_holm=p_differ[pair],
            p_tost_holm=p_equivalent[pair],
            seed_std=estimate.seeds,
            text_se=estimate.text,
            power=describe_power(estimate, test, margin, len(tests)) if is_open else None,
        )
    return verdicts


def _classify(mean: float, p_differ: float, p_tost: float, higher_is_better: bool) -> Label:
    """Return the label; a difference that is significant but below the margin is equivalence."""
    if p_tost <= SIGNIFICANCE_LEVEL:
        return "equivalent"
    if p_differ <= SIGNIFICANCE_LEVEL:
        return "better" if (mean > 0) == higher_is_better else "worse"
    return "inconclusive"


def _without_test(sample: PairedSample, pair: Pair) -> Verdict:
    """Return the verdict on a pair that cannot be tested."""
    if not sample.finished[pair[0]].any():
        return Verdict(label="diverged")
    return Verdict(
        label="inconclusive",
        insufficient=sample.insufficient(pair),
        difference=sample.difference(pair),
    )


def holm_adjust(p: Mapping[Test, float]) -> dict[Test, float]:
    """Return p values adjusted for their number, smallest first.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    adjusted, highest = {}, 0.0
    for rank, test in enumerate(sorted(p, key=lambda test: p[test])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[test]))
        adjusted[test] = highest
    return adjusted
