"""Verdicts where the truth is known: error rates, coverage and power are as promised."""

import math
from itertools import product

import msgspec
import numpy as np
import pytest

from charlm.comparison import bootstrap
from charlm.comparison.bootstrap import draw_resampling_weights
from charlm.comparison.request import DEFAULT_MARGIN
from charlm.comparison.search import expected_best
from charlm.comparison.verdicts import (
    compute_verdicts,
    estimate_difference,
    holm_adjust,
    required_seeds,
)
from charlm.data.units import MIN_BLOCK_LENGTH, block_edges
from charlm.evaluation.blocks import Numbers
from charlm.reporting.wording.verdicts import describe_insufficient_data, describe_power
from charlm.results.comparison import InsufficientData, Power, Verdict

LENGTH = 1000


def noise(draw: np.random.Generator, shape: tuple[int, ...], skewed: bool) -> Numbers:
    """Mean 0, variance 1; skewness 0 or 1."""
    return (draw.standard_gamma(4, shape) - 4) / 2 if skewed else draw.standard_normal(shape)


def drawn(
    draw: np.random.Generator,
    count: int,
    seeds: int,
    blocks: int,
    deviations: tuple[float, float, float],
    skewed: bool = False,
) -> Numbers:
    """Bits that cells of the same quality needed, (count, seeds, blocks).

    The deviations, in bits per character, are over seeds, over blocks, and of the two together.
    """
    of_seeds, of_blocks, of_both = deviations
    bits = of_seeds * noise(draw, (count, seeds, 1), skewed)
    bits = bits + of_blocks * noise(draw, (count, 1, blocks), skewed)
    return LENGTH * (bits + of_both * noise(draw, (count, seeds, blocks), skewed))


def lengths(blocks: int) -> np.ndarray:
    return np.full(blocks, LENGTH)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer resamples, so that whole experiments can be repeated."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 999)


def intervals(differences: Numbers, sizes: np.ndarray) -> Numbers:
    """Low and high end, (count, 2), for each of the differences (count, seeds, blocks)."""
    _, seeds, blocks = differences.shape
    taken = draw_resampling_weights(seeds, blocks, 0)
    found = [
        bootstrap.studentized_bootstrap(estimate_difference(one, sizes), taken)
        for one in differences
    ]
    return np.array([one.interval(0.05) for one in found])


def covered(found: Numbers) -> float:
    """How many of the intervals hold 0, the truth."""
    return float(((found[:, 0] <= 0) & (found[:, 1] >= 0)).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "blocks", "deviations", "skewed"),
    [
        (5, 20, (0.001, 0.05, 0.02), True),
        (5, 50, (0.02, 0.002, 0.002), False),
        (6, 50, (0.05, 0.05, 0.02), False),
        (6, 20, (0.01, 0.05, 0.05), True),
        (6, 500, (0.003, 0.05, 0.05), False),
        (10, 20, (0.05, 0.05, 0.02), True),
        (10, 50, (0.001, 0.002, 0.002), False),
        (10, 50, (0.02, 0.002, 0.002), True),
    ],
)
def test_intervals_of_95_percent_cover_93_to_97(
    quick: None, seeds: int, blocks: int, deviations: tuple[float, float, float], skewed: bool
) -> None:
    draw = np.random.default_rng(1)
    count = 300 if blocks > 50 else 1500
    differences = drawn(draw, count, seeds, blocks, deviations, skewed)
    assert 0.93 <= covered(intervals(differences, lengths(blocks))) <= 0.97


def test_percentile_bootstrap_of_six_seeds_undercovers(quick: None) -> None:
    draw = np.random.default_rng(2)
    taken = draw_resampling_weights(6, 50, 0)
    found = []
    for one in drawn(draw, 1000, 6, 50, (0.02, 0.002, 0.002)):
        means = ((taken.blocks @ one.T) * taken.seeds).sum(1)
        found.append(np.quantile(means, [0.025, 0.975]))
    assert covered(np.array(found)) < 0.9


def alike(draw: np.random.Generator, count: int, blocks: int, r: float) -> Numbers:
    """Bits of blocks of which each is like the one before, (count, 1, blocks)."""
    walk = [draw.standard_normal(count)]
    for _ in range(blocks - 1):
        walk.append(r * walk[-1] + (1 - r * r) ** 0.5 * draw.standard_normal(count))
    return 0.02 * LENGTH * np.stack(walk, 1)[:, None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("r", "blocks", "least"), [(0.3, 50, 0.92), (0.5, 50, 0.9), (0.5, 23, 0.87)]
)
def test_correlated_blocks_count_as_fewer(
    quick: None, monkeypatch: pytest.MonkeyPatch, r: float, blocks: int, least: float
) -> None:
    draw = np.random.default_rng(3)
    same = drawn(draw, 800, 6, blocks, (0.002, 0.0, 0.01)) + alike(draw, 800, blocks, r)
    assert least <= covered(intervals(same, lengths(blocks))) <= 0.97
    monkeypatch.setattr(bootstrap, "_autocorrelation_inflation", lambda by_block: 1.0)
    assert covered(intervals(same, lengths(blocks))) < least - 0.05


def test_long_blocks_of_long_text_are_less_correlated(quick: None) -> None:
    draw = np.random.default_rng(3)
    same = drawn(draw, 300, 6, 500, (0.001, 0.0, 0.02)) + alike(draw, 300, 500, 0.8)
    cut = block_edges(500 * LENGTH)
    long = np.add.reduceat(same, cut[:-1] // LENGTH, axis=2)
    assert 0.92 <= covered(intervals(long, np.diff(cut))) <= 0.98


def words(cells: Numbers, seed: int = 0) -> list[str]:
    """Verdicts on cells, (cells, seeds, blocks), beside the first of them."""
    bits = {str(place): cell for place, cell in enumerate(cells)}
    found = compute_verdicts(bits, lengths(cells.shape[2]), "0", seed=seed)
    return [one.label for one in found.values()]


@pytest.mark.slow
@pytest.mark.parametrize("skewed", [False, True])
def test_familywise_error_of_five_equal_cells_is_five_percent(quick: None, skewed: bool) -> None:
    draw = np.random.default_rng(4)
    tables = 400
    false = 0
    for table in range(tables):
        cells = drawn(draw, 6, 6, 20, (0.01, 0.03, 0.03), skewed)
        false += bool({"better", "worse"} & set(words(cells, table)))
    assert false / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5


@pytest.mark.slow
def test_cells_apart_by_margin_are_rarely_equivalent(quick: None) -> None:
    draw = np.random.default_rng(5)
    tables = 400
    false = {DEFAULT_MARGIN: 0, -DEFAULT_MARGIN: 0}
    for table in range(tables):
        for apart in false:
            cells = drawn(draw, 4, 6, 20, (0.002, 0.004, 0.004))
            cells[1:] += apart * LENGTH
            false[apart] += "equivalent" in words(cells, table)
    for wrong in false.values():
        assert wrong / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5


@pytest.mark.slow
def test_required_seeds_reach_eighty_percent_power(quick: None) -> None:
    draw = np.random.default_rng(6)
    deviations = (0.009, 0.01, 0.01)

    def told(seeds: int) -> float:
        cells = drawn(draw, 500, seeds, 50, deviations) + DEFAULT_MARGIN * LENGTH
        return float((intervals(cells, lengths(50))[:, 0] > 0).mean())

    power = [told(seeds) for seeds in (6, 9, 14)]
    assert power[0] + 0.1 < power[1] < power[2] - 0.1
    tries = [estimate_difference(one, lengths(50)) for one in drawn(draw, 300, 6, 50, deviations)]
    needed = [required_seeds(one, DEFAULT_MARGIN, 1) for one in tries]
    enough = math.ceil(np.median([n for n in needed if n]))
    assert 0.76 < told(enough) < 0.86


def test_short_text_cannot_be_compensated_by_seeds() -> None:
    draw = np.random.default_rng(7)
    one = drawn(draw, 1, 6, 20, (0.001, 0.2, 0.001))[0]
    verdict = compute_verdicts({"a": 0 * one, "b": one}, lengths(20), "a")["b"]
    assert verdict.label == "inconclusive" and verdict.power == Power(seeds=None)
    assert describe_power(verdict.power, 0.01) == (
        "the test text is too short to detect 0.01 bits, with any number of seeds"
    )
    each = one.mean(0) - one.mean()
    r = (each[1:] @ each[:-1]) / (each @ each)
    r = max(0, r + (1 + 4 * r) / 20)
    error = each.std(ddof=1) / LENGTH / 20**0.5 * ((1 + r) / (1 - r)) ** 0.5
    assert verdict.text_se == pytest.approx(error, rel=0.01)


def test_insufficient_seeds_or_text_allow_no_verdict() -> None:
    draw = np.random.default_rng(8)
    for seeds, blocks, says in ((5, 50, "6 seeds or more"), (1, 50, "6 seeds"), (9, 19, "20,000")):
        near, far = drawn(draw, 2, seeds, blocks, (0.01, 0.01, 0.01))
        verdict = compute_verdicts(
            {"near": near, "far": far + 3 * LENGTH}, lengths(blocks), "near"
        )["far"]
        assert verdict.label == "inconclusive" and verdict.insufficient
        assert says in describe_insufficient_data(verdict.insufficient)
        assert verdict.difference == pytest.approx(3, abs=0.1)
        assert verdict.ci_low is None and verdict.p is None
    near, far = drawn(draw, 2, 6, 20, (0.01, 0.01, 0.01))
    verdict = compute_verdicts({"near": near, "far": far + 3 * LENGTH}, lengths(20), "near")["far"]
    assert verdict.label == "worse" and verdict.insufficient is None and verdict.power is None


def test_other_seeds_of_diverged_cell_are_no_evidence() -> None:
    draw = np.random.default_rng(9)
    base, good, torn = drawn(draw, 3, 6, 20, (0.01, 0.01, 0.01))
    good -= LENGTH
    torn -= LENGTH
    torn[2:4] = np.inf
    bits = {"base": base, "torn": torn, "good": good}
    found = compute_verdicts(bits, lengths(20), "base")
    assert found["torn"] == Verdict(label="diverged")
    assert found["torn"].difference is None and found["torn"].p_holm is None
    assert found["good"].label == "better"
    assert found["good"].p_holm == 2 * found["good"].p  # the cell that diverged was compared, too
    for one in compute_verdicts(bits, lengths(20), "torn").values():
        assert one.label == "inconclusive" and one.difference is None
        assert one.insufficient == InsufficientData(
            cause="reference_diverged", available=4, needed=6, diverged=2
        )
        assert describe_insufficient_data(one.insufficient).startswith(
            "the reference diverged with 2 of 6 seeds"
        )


def test_small_significant_difference_is_equivalent() -> None:
    draw = np.random.default_rng(10)
    base = drawn(draw, 1, 6, 20, (0.1, 0.1, 0.1))[0]
    small = base + LENGTH * (0.003 + 0.0005 * draw.standard_normal((6, 20)))
    found = compute_verdicts(
        {"base": base, "same": base.copy(), "small": small}, lengths(20), "base"
    )
    assert found["same"].label == "equivalent"
    assert (found["same"].difference, found["same"].p) == (0, 1)
    assert found["small"].p_holm < 0.01 and found["small"].label == "equivalent"
    at = compute_verdicts({"base": base, "small": small}, lengths(20), "base", margin=0.002)
    assert at["small"].label == "worse"


def test_difference_is_total_bits_over_total_characters() -> None:
    draw = np.random.default_rng(11)
    sizes = draw.integers(1000, 2000, 20)
    base, cell = draw.uniform(1000, 3000, (2, 6, 20)) * sizes / 1000
    found = compute_verdicts({"base": base, "cell": cell}, sizes, "base")["cell"]
    seeds = (cell - base).sum(1) / sizes.sum()
    assert found.difference == pytest.approx(seeds.mean(), rel=1e-12)
    assert found.seed_std == pytest.approx(seeds.std(ddof=1), rel=1e-9)
    assert found.ci_low < found.difference < found.ci_high


def test_order_of_cells_changes_no_byte() -> None:
    draw = np.random.default_rng(12)
    bits = dict(zip("abc", drawn(draw, 3, 6, 30, (0.01, 0.01, 0.01)), strict=True))
    one = compute_verdicts(bits, lengths(30), "b")
    two = compute_verdicts(dict(reversed(bits.items())), lengths(30), "b")
    assert msgspec.json.encode([one["a"], one["c"]]) == msgspec.json.encode([two["a"], two["c"]])


def test_holm_adjustment_matches_hand_calculation() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm_adjust(p, 4) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm_adjust({"a": 0.01, "b": 0.4}, 5) == pytest.approx({"a": 0.05, "b": 1.0})


def test_block_edges_cut_text_evenly() -> None:
    for symbols in (1, 999, 2999, 23_253, 49_999, 1_000_003):
        cut = block_edges(symbols)
        assert cut[0] == 0 and cut[-1] == symbols
        assert np.ptp(np.diff(cut)) <= 1 and len(cut) <= 51
        assert symbols < MIN_BLOCK_LENGTH or np.diff(cut).min() >= MIN_BLOCK_LENGTH
    assert len(block_edges(23_253)) == 24


def test_expected_best_is_mean_over_all_draws() -> None:
    results = [1.7, 1.5, 2.2, 1.5, 3.0]
    found = expected_best(results)
    for trials in range(1, 6):
        every = [min(ways) for ways in product(results, repeat=trials)]
        assert found[trials - 1] == pytest.approx(sum(every) / len(every), rel=1e-12)
