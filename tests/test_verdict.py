"""Verdicts where the truth is known: they are as often wrong as they say, and no oftener."""

import math
from itertools import product

import msgspec
import numpy as np
import pytest

from charlm.comparison import bootstrap
from charlm.comparison.bootstrap import draw_resampling_weights
from charlm.comparison.search import expected_best
from charlm.comparison.verdicts import (
    EQUIVALENCE_MARGIN,
    compute_verdicts,
    estimate_difference,
    holm_adjust,
    required_seeds,
)
from charlm.evaluation.blocks import MIN_BLOCK_LENGTH, Numbers, block_edges

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


def test_a_plain_bootstrap_of_six_seeds_promises_too_much(quick: None) -> None:
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


@pytest.mark.parametrize(
    ("r", "blocks", "least"), [(0.3, 50, 0.92), (0.5, 50, 0.9), (0.5, 23, 0.87)]
)
def test_blocks_that_are_like_their_neighbours_are_worth_fewer(
    quick: None, monkeypatch: pytest.MonkeyPatch, r: float, blocks: int, least: float
) -> None:
    draw = np.random.default_rng(3)
    same = drawn(draw, 800, 6, blocks, (0.002, 0.0, 0.01)) + alike(draw, 800, blocks, r)
    assert least <= covered(intervals(same, lengths(blocks))) <= 0.97
    monkeypatch.setattr(bootstrap, "_fewer", lambda by_block: 1.0)
    assert covered(intervals(same, lengths(blocks))) < least - 0.05


def test_a_long_text_is_cut_into_long_blocks_that_are_less_alike(quick: None) -> None:
    draw = np.random.default_rng(3)
    same = drawn(draw, 300, 6, 500, (0.001, 0.0, 0.02)) + alike(draw, 300, 500, 0.8)
    cut = block_edges(500 * LENGTH)
    long = np.add.reduceat(same, cut[:-1] // LENGTH, axis=2)
    assert 0.92 <= covered(intervals(long, np.diff(cut))) <= 0.98


def words(cells: Numbers, seed: int = 0) -> list[str]:
    """Verdicts on cells, (cells, seeds, blocks), beside the first of them."""
    bits = {str(place): cell for place, cell in enumerate(cells)}
    found = compute_verdicts(bits, lengths(cells.shape[2]), "0", seed=seed)
    return [one.verdict for one in found.values()]


@pytest.mark.parametrize("skewed", [False, True])
def test_among_five_equal_cells_at_most_one_table_in_twenty_sees_a_difference(
    quick: None, skewed: bool
) -> None:
    draw = np.random.default_rng(4)
    tables = 400
    false = 0
    for table in range(tables):
        cells = drawn(draw, 6, 6, 20, (0.01, 0.03, 0.03), skewed)
        false += bool({"better", "worse"} & set(words(cells, table)))
    assert false / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5


def test_cells_apart_by_the_margin_are_seldom_called_equivalent(quick: None) -> None:
    draw = np.random.default_rng(5)
    tables = 400
    false = {EQUIVALENCE_MARGIN: 0, -EQUIVALENCE_MARGIN: 0}
    for table in range(tables):
        for apart in false:
            cells = drawn(draw, 4, 6, 20, (0.002, 0.004, 0.004))
            cells[1:] += apart * LENGTH
            false[apart] += "equivalent" in words(cells, table)
    for wrong in false.values():
        assert wrong / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5


def test_more_seeds_tell_more_and_as_many_as_are_said_tell_the_margin(quick: None) -> None:
    draw = np.random.default_rng(6)
    deviations = (0.009, 0.01, 0.01)

    def told(seeds: int) -> float:
        cells = drawn(draw, 500, seeds, 50, deviations) + EQUIVALENCE_MARGIN * LENGTH
        return float((intervals(cells, lengths(50))[:, 0] > 0).mean())

    power = [told(seeds) for seeds in (6, 9, 14)]
    assert power[0] + 0.1 < power[1] < power[2] - 0.1
    tries = [estimate_difference(one, lengths(50)) for one in drawn(draw, 300, 6, 50, deviations)]
    needed = [required_seeds(one, EQUIVALENCE_MARGIN, 1) for one in tries]
    enough = math.ceil(np.median([n for n in needed if n]))
    assert 0.76 < told(enough) < 0.86


def test_text_that_is_too_short_is_not_mended_by_seeds() -> None:
    draw = np.random.default_rng(7)
    one = drawn(draw, 1, 6, 20, (0.001, 0.2, 0.001))[0]
    verdict = compute_verdicts({"a": 0 * one, "b": one}, lengths(20), "a")["b"]
    assert verdict.verdict == "inconclusive" and "too short to tell 0.01 bits" in verdict.note
    each = one.mean(0) - one.mean()
    r = (each[1:] @ each[:-1]) / (each @ each)
    r = max(0, r + (1 + 4 * r) / 20)
    error = each.std(ddof=1) / LENGTH / 20**0.5 * ((1 + r) / (1 - r)) ** 0.5
    assert verdict.text_standard_error == pytest.approx(error, rel=0.01)


def test_too_few_seeds_or_too_little_text_prove_nothing_however_far_apart() -> None:
    draw = np.random.default_rng(8)
    for seeds, blocks, says in ((5, 50, "6 seeds or more"), (1, 50, "6 seeds"), (9, 19, "20,000")):
        near, far = drawn(draw, 2, seeds, blocks, (0.01, 0.01, 0.01))
        verdict = compute_verdicts(
            {"near": near, "far": far + 3 * LENGTH}, lengths(blocks), "near"
        )["far"]
        assert verdict.verdict == "inconclusive" and says in verdict.note
        assert verdict.difference == pytest.approx(3, abs=0.1)
        assert verdict.ci_low is None and verdict.p is None
    near, far = drawn(draw, 2, 6, 20, (0.01, 0.01, 0.01))
    verdict = compute_verdicts({"near": near, "far": far + 3 * LENGTH}, lengths(20), "near")["far"]
    assert verdict.verdict == "worse" and verdict.note == ""


def test_what_its_other_seeds_did_is_no_evidence_for_a_cell_that_diverged() -> None:
    draw = np.random.default_rng(9)
    base, good, torn = drawn(draw, 3, 6, 20, (0.01, 0.01, 0.01))
    good -= LENGTH
    torn -= LENGTH
    torn[2:4] = np.inf
    bits = {"base": base, "torn": torn, "good": good}
    found = compute_verdicts(bits, lengths(20), "base")
    assert found["torn"] == msgspec.structs.replace(found["torn"], word="diverged 2 of 6")
    assert found["torn"].difference is None and found["torn"].p_holm is None
    assert found["good"].verdict == "better"
    assert found["good"].p_holm == 2 * found["good"].p  # the cell that diverged was compared, too
    for one in compute_verdicts(bits, lengths(20), "torn").values():
        assert one.verdict == "inconclusive" and one.difference is None
        assert one.note.startswith("the baseline diverged in 2 of 6 seeds")


def test_a_cell_is_equivalent_to_itself_and_a_sure_but_small_difference_is_none() -> None:
    draw = np.random.default_rng(10)
    base = drawn(draw, 1, 6, 20, (0.1, 0.1, 0.1))[0]
    small = base + LENGTH * (0.003 + 0.0005 * draw.standard_normal((6, 20)))
    found = compute_verdicts(
        {"base": base, "same": base.copy(), "small": small}, lengths(20), "base"
    )
    assert found["same"].verdict == "equivalent"
    assert (found["same"].difference, found["same"].p) == (0, 1)
    assert found["small"].p_holm < 0.01 and found["small"].verdict == "equivalent"
    at = compute_verdicts({"base": base, "small": small}, lengths(20), "base", margin=0.002)
    assert at["small"].verdict == "worse"


def test_the_difference_is_that_of_all_bits_over_all_characters() -> None:
    draw = np.random.default_rng(11)
    sizes = draw.integers(1000, 2000, 20)
    base, cell = draw.uniform(1000, 3000, (2, 6, 20)) * sizes / 1000
    found = compute_verdicts({"base": base, "cell": cell}, sizes, "base")["cell"]
    seeds = (cell - base).sum(1) / sizes.sum()
    assert found.difference == pytest.approx(seeds.mean(), rel=1e-12)
    assert found.seed_std == pytest.approx(seeds.std(ddof=1), rel=1e-9)
    assert found.ci_low < found.difference < found.ci_high


def test_the_same_costs_give_the_same_bytes_in_any_order_of_cells() -> None:
    draw = np.random.default_rng(12)
    bits = dict(zip("abc", drawn(draw, 3, 6, 30, (0.01, 0.01, 0.01)), strict=True))
    one = compute_verdicts(bits, lengths(30), "b")
    two = compute_verdicts(dict(reversed(bits.items())), lengths(30), "b")
    assert msgspec.json.encode([one["a"], one["c"]]) == msgspec.json.encode([two["a"], two["c"]])


def test_holm_is_as_by_hand() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm_adjust(p, 4) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm_adjust({"a": 0.01, "b": 0.4}, 5) == pytest.approx({"a": 0.05, "b": 1.0})


def test_blocks_are_whole_text_equally_cut_and_no_shorter_than_a_thousand() -> None:
    for symbols in (1, 999, 2999, 23_253, 49_999, 1_000_003):
        cut = block_edges(symbols)
        assert cut[0] == 0 and cut[-1] == symbols
        assert np.ptp(np.diff(cut)) <= 1 and len(cut) <= 51
        assert symbols < MIN_BLOCK_LENGTH or np.diff(cut).min() >= MIN_BLOCK_LENGTH
    assert len(block_edges(23_253)) == 24


def test_the_best_to_be_expected_is_the_mean_over_all_ways_to_draw_trials() -> None:
    results = [1.7, 1.5, 2.2, 1.5, 3.0]
    found = expected_best(results)
    for trials in range(1, 6):
        every = [min(ways) for ways in product(results, repeat=trials)]
        assert found[trials - 1] == pytest.approx(sum(every) / len(every), rel=1e-12)
