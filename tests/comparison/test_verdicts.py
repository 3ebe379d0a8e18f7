"""Verdicts where the truth is known: error rates, coverage and power are as promised."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from charlm.comparison import bootstrap
from charlm.comparison.bootstrap import estimate_mean, studentized_bootstrap
from charlm.comparison.order_reach import judge_order_reach
from charlm.comparison.paired_sample import PairedSample
from charlm.comparison.request import DEFAULT_MARGIN
from charlm.comparison.sample_size import required_seeds
from charlm.comparison.search import expected_best
from charlm.comparison.verdicts import Judgement, holm_adjust, judge
from charlm.evaluation.blocks import Numbers
from charlm.probes.order_reach import read_order_reach
from charlm.results.verdicts import InsufficientData, Judged, Verdict

LENGTH = 1000
SCRIPT = Path(__file__).parents[2] / "scripts" / "coverage.py"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """The script of `make coverage`."""
    spec = importlib.util.spec_from_file_location("coverage_script", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["coverage_script"] = module  # for the dataclass in it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer resamples, so that whole experiments can be repeated."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 499)


def drawn(
    draw: np.random.Generator,
    count: int,
    seeds: int,
    units: int,
    deviations: tuple[float, float, float],
) -> Numbers:
    """Bits that cells of the same quality needed, (count, seeds, units).

    The deviations, in bits per character, are over seeds, over units, and of the two together.
    """
    of_seeds, of_units, of_both = deviations
    bits = of_seeds * draw.standard_normal((count, seeds, 1))
    bits = bits + of_units * draw.standard_normal((count, 1, units))
    return LENGTH * (bits + of_both * draw.standard_normal((count, seeds, units)))


def lengths(units: int) -> np.ndarray:
    return np.full(units, LENGTH)


def judged(bits: Mapping[str, Numbers], reference: str, **changed: Any) -> Judgement:
    units = next(iter(bits.values())).shape[1]
    arguments = {"counts": lengths(units), "margin": DEFAULT_MARGIN, "unit_kind": "file"}
    return judge(bits, reference=reference, **{**arguments, "quantity": "bits_per_char", **changed})


def verdict(bits: Mapping[str, Numbers], cell: str, reference: str, **changed: Any) -> Verdict:
    found = judged(bits, reference, **changed).cells[cell].verdict
    assert found
    return found


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        ("TEXT_DECIDES", {"units": 20}),
        ("TEXT_DECIDES", {"units": 20, "correlation": 0.5}),
        ("TEXT_DECIDES", {"correlation": 0.5, "skewed": True}),
        ("TEXT_DECIDES", {"correlation": 0.8}),
        ("TEXT_DECIDES", {"are_files": True, "spread": 1.0, "longest": 1.0}),
        ("SEEDS_DECIDE", {}),
        ("INTERACTION_DECIDES", {"are_files": True, "seeds": 10}),
    ],
)
def test_intervals_of_95_percent_cover_what_they_say(
    quick: None, simulation: ModuleType, base: str, changed: dict[str, Any]
) -> None:
    covered, _ = simulation.coverage(replace(getattr(simulation, base), **changed), 250)
    assert 0.91 <= covered <= 0.99  # two standard errors of 250 repeats are 0.026


def test_blocks_that_are_alike_must_not_be_taken_for_independent(
    quick: None, simulation: ModuleType
) -> None:
    scenario = replace(simulation.TEXT_DECIDES, correlation=0.8, are_files=True)
    assert simulation.coverage(scenario, 150)[0] < 0.75


def test_intervals_of_independent_blocks_are_hardly_longer_than_those_of_files(
    quick: None, simulation: ModuleType
) -> None:
    scenario = replace(simulation.TEXT_DECIDES, units=20)
    _, of_blocks = simulation.coverage(scenario, 100)
    _, of_files = simulation.coverage(replace(scenario, are_files=True), 100)
    assert of_files < of_blocks < 1.25 * of_files


def test_order_reach_is_covered(quick: None, simulation: ModuleType) -> None:
    found = simulation.order_reach_coverage(50, 0.01, 50)
    assert min(found.own[0], found.equal[0], found.farther[0]) >= 0.86 and abs(found.bias) < 0.15


def labels(cells: Numbers) -> list[str]:
    """Verdicts on cells, (cells, seeds, units), beside the first of them."""
    bits = {str(place): cell for place, cell in enumerate(cells)}
    found = judged(bits, "0").cells
    return [one.verdict.label for name, one in found.items() if name != "0" and one.verdict]


@pytest.mark.slow
def test_familywise_error_of_five_equal_cells_is_five_percent(quick: None) -> None:
    draw = np.random.default_rng(4)
    tables = 150
    false = sum(
        bool({"better", "worse"} & set(labels(drawn(draw, 6, 6, 20, (0.01, 0.03, 0.03)))))
        for _ in range(tables)
    )
    assert false / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5


@pytest.mark.slow
def test_cells_apart_by_margin_are_rarely_equivalent(quick: None) -> None:
    draw = np.random.default_rng(5)
    tables = 100
    for apart in (DEFAULT_MARGIN, -DEFAULT_MARGIN):
        false = 0
        for _ in range(tables):
            cells = drawn(draw, 3, 6, 20, (0.002, 0.004, 0.004))
            cells[1:] += apart * LENGTH
            false += "equivalent" in labels(cells)
        assert false / tables <= 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5


def test_required_seeds_reach_eighty_percent_power(quick: None) -> None:
    draw = np.random.default_rng(6)
    deviations = (0.009, 0.01, 0.01)

    def told(seeds: int) -> float:
        cells = drawn(draw, 200, seeds, 50, deviations) + DEFAULT_MARGIN * LENGTH
        tests = [
            studentized_bootstrap(estimate_mean(one, lengths(50), are_ordered=False), 0)
            for one in cells
        ]
        return float(np.mean([test.interval(0.05)[0] > 0 for test in tests]))

    tries = [
        estimate_mean(one, lengths(50), are_ordered=False)
        for one in drawn(draw, 200, 6, 50, deviations)
    ]
    needed = [required_seeds(one, DEFAULT_MARGIN, 1) for one in tries]
    enough = int(np.ceil(np.median([number for number in needed if number])))
    assert 0.7 < told(enough) < 0.9
    assert told(enough // 2) < 0.7


def test_short_text_cannot_be_compensated_by_seeds() -> None:
    draw = np.random.default_rng(7)
    one = drawn(draw, 1, 6, 20, (0.001, 0.2, 0.001))[0]
    found = verdict({"a": 0 * one, "b": one}, "b", "a")
    assert found.label == "inconclusive" and found.power and found.power.seeds is None
    error = one.mean(0).std(ddof=1) / LENGTH / 20**0.5
    assert found.text_se == pytest.approx(error, rel=0.01)


def test_smallest_margin_is_the_one_from_which_on_cells_are_equivalent() -> None:
    draw = np.random.default_rng(7)
    one = drawn(draw, 1, 6, 30, (0.05, 0.05, 0.05))[0]
    bits = {"a": 0 * one, "b": one - one.mean()}
    power = verdict(bits, "b", "a").power
    assert power
    for factor, label in ((0.98, "inconclusive"), (1.02, "equivalent")):
        margin = factor * power.smallest_margin
        assert verdict(bits, "b", "a", margin=margin).label == label


def test_insufficient_seeds_or_text_allow_no_verdict() -> None:
    draw = np.random.default_rng(8)
    for seeds, units, cause in ((5, 50, "seeds"), (1, 50, "seeds"), (9, 19, "units")):
        near, far = drawn(draw, 2, seeds, units, (0.01, 0.01, 0.01))
        judgement = judged({"near": near, "far": far + 3 * LENGTH}, "near", unit_kind="block")
        found = judgement.cells["far"].verdict
        assert found and found.label == "inconclusive" and found.insufficient
        assert found.insufficient.cause == cause
        assert (found.insufficient.characters_needed == 20_000) == (cause == "units")
        assert found.difference == pytest.approx(3, abs=0.1)
        assert found.ci_low is None and found.p is None
        assert judgement.cells["far"].ci_low is None
    near, far = drawn(draw, 2, 6, 20, (0.01, 0.01, 0.01))
    found = verdict({"near": near, "far": far + 3 * LENGTH}, "far", "near")
    assert found.label == "worse" and found.insufficient is None and found.power is None


def test_verdict_is_on_seeds_that_neither_cell_lost() -> None:
    draw = np.random.default_rng(9)
    base, torn, good = drawn(draw, 3, 8, 20, (0.01, 0.01, 0.01))
    good, torn = good - LENGTH, torn - LENGTH
    whole = verdict({"base": base[1:7], "torn": torn[1:7]}, "torn", "base")
    torn[0], base[7] = np.inf, np.nan
    bits = {"base": base, "torn": torn, "good": good}
    judgement = judged(bits, "base")
    found = {cell: one.verdict for cell, one in judgement.cells.items()}
    assert found["torn"].label == found["good"].label == "better"
    assert (found["torn"].difference, found["torn"].p) == (whole.difference, whole.p)
    assert found["base"] == Verdict(label="reference")
    value = judgement.cells["torn"].value
    assert value.per_seed[0] is None and value.mean == pytest.approx(-1, abs=0.1)
    torn[1] = np.inf
    found = verdict(bits, "torn", "base")
    assert found.label == "inconclusive" and found.difference == pytest.approx(-1, abs=0.1)
    assert found.insufficient == InsufficientData(cause="seeds", available=5, needed=6, diverged=3)
    assert verdict(bits, "good", "base").label == "better"


def test_cell_of_which_every_seed_diverged() -> None:
    draw = np.random.default_rng(9)
    base, lost = drawn(draw, 2, 6, 20, (0.01, 0.01, 0.01))
    judgement = judged({"base": base, "lost": np.full_like(lost, np.inf)}, "base")
    assert judgement.cells["lost"].verdict == Verdict(label="diverged")
    assert judgement.cells["lost"].value.mean is None
    judgement = judged({"base": base, "lost": np.full_like(lost, np.inf)}, "lost")
    assert judgement.cells["lost"].verdict == Verdict(label="diverged")
    found = judgement.cells["base"].verdict
    assert found and found.insufficient
    assert found.label == "inconclusive" and found.insufficient.cause == "reference_diverged"


def test_median_shows_a_run_that_explodes() -> None:
    draw = np.random.default_rng(9)
    one = drawn(draw, 1, 6, 20, (0.01, 0.01, 0.01))[0] + 2 * LENGTH
    one[3] = 6.5 * LENGTH
    value = judged({"a": one}, "a").cells["a"].value
    assert value.median == pytest.approx(2, abs=0.05) and value.mean and value.mean > 2.6


def test_small_significant_difference_is_equivalent() -> None:
    draw = np.random.default_rng(10)
    base = drawn(draw, 1, 6, 20, (0.1, 0.1, 0.1))[0]
    small = base + LENGTH * (0.003 + 0.0005 * draw.standard_normal((6, 20)))
    found = judged({"base": base, "same": base.copy(), "small": small}, "base").cells
    same, near = found["same"].verdict, found["small"].verdict
    assert same and near and same.label == "equivalent" and (same.difference, same.p) == (0, 1)
    assert near.p_holm is not None and near.p_holm < 0.01 and near.label == "equivalent"
    assert verdict({"base": base, "small": small}, "small", "base", margin=0.002).label == "worse"


def test_difference_is_total_bits_over_total_characters() -> None:
    draw = np.random.default_rng(11)
    sizes = draw.integers(1000, 2000, 20)
    base, cell = draw.uniform(1000, 3000, (2, 6, 20)) * sizes / 1000
    found = judged({"base": base, "cell": cell}, "base", counts=sizes).cells["cell"]
    seeds = (cell - base).sum(1) / sizes.sum()
    assert found.verdict and found.verdict.difference == pytest.approx(seeds.mean(), rel=1e-12)
    assert found.verdict.seed_std == pytest.approx(seeds.std(ddof=1), rel=1e-9)
    assert found.verdict.ci_low < found.verdict.difference < found.verdict.ci_high
    assert found.value.mean == pytest.approx(cell.sum() / 6 / sizes.sum())
    assert found.ci_low < found.value.mean < found.ci_high


def test_order_of_cells_changes_no_byte() -> None:
    draw = np.random.default_rng(12)
    bits = dict(zip("abc", drawn(draw, 3, 6, 30, (0.01, 0.01, 0.01)), strict=True))
    one = judged(bits, "b").cells
    two = judged(dict(reversed(bits.items())), "b").cells
    assert [msgspec.json.encode(one[cell]) for cell in bits] == [
        msgspec.json.encode(two[cell]) for cell in bits
    ]


def test_more_is_better_for_memory_and_all_pairs_of_four_cells_are_tested() -> None:
    draw = np.random.default_rng(13)
    cells = drawn(draw, 4, 6, 30, (0.01, 0.01, 0.01))
    cells[3] += LENGTH
    bits = dict(zip("abcd", cells, strict=True))
    judgement = judged(bits, "b", higher_is_better=True, quantity="beyond_64")
    pairs = [(pair.cell, pair.other) for pair in judgement.pairs]
    assert pairs == [("a", "b"), ("c", "b"), ("d", "b"), ("c", "a"), ("d", "a"), ("d", "c")]
    assert [p.verdict.label for p in judgement.pairs if p.cell == "d"] == ["better"] * 3
    assert judgement.pairs[0].verdict == judgement.cells["a"].verdict
    assert judgement.pairs[0].quantity == "beyond_64"
    assert verdict(bits, "d", "b").label == "worse"
    assert judged({**bits, "e": cells[0]}, "b").pairs == ()


def test_many_files_and_files_without_a_place() -> None:
    draw = np.random.default_rng(14)
    bits = {"a": drawn(draw, 1, 6, 500, (0.01, 0.01, 0.01))[0]}
    counts = np.where(np.arange(500) % 3, LENGTH, 0)
    bits["a"][:, counts == 0] = 0
    sample = PairedSample.build(bits, counts, "file", 0)
    assert len(sample.counts) == 200 and sample.counts.sum() == counts.sum()
    assert sample.summary("a").mean == pytest.approx(bits["a"].sum() / 6 / counts.sum())
    nothing = judged(bits, "a", counts=0 * counts).cells["a"]
    assert nothing.value.mean is None and nothing.ci_low is None


def test_holm_adjustment_matches_hand_calculation() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    found = holm_adjust({(cell, "e"): value for cell, value in p.items()})
    assert {cell: value for (cell, _), value in found.items()} == pytest.approx(
        {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06}
    )


@pytest.mark.parametrize(
    ("curve", "reach"),
    [
        ([0.2, 0.1, 0.04, 0.0025, 0.0], 8 * 2**0.8),
        ([0.2, 0.1, 0.012, 0.008, 0.0], 8 * 2**0.5),
        ([0.2, 0.0, 0.2, 0.0, 0.0], 8 * 2**0.9),  # what is lost beyond 2 is lost beyond 4
        ([0.005, 0.004, 0.0, 0.0, 0.0], 2),
        ([0.3, 0.2, 0.2, 0.1, 0.1], 32),
    ],
)
def test_order_reach_is_where_the_monotone_curve_falls(curve: list[float], reach: float) -> None:
    found = read_order_reach(np.array(curve), np.ones(5), np.array([2, 4, 8, 16, 32]))
    assert 2**found == pytest.approx(reach)


def curves(amount: float, seeds: int = 6, units: int = 30) -> Numbers:
    """Curves that fall by half with each doubling, (seeds, lengths, units)."""
    draw = np.random.default_rng(15)
    curve = amount * 0.5 ** np.arange(6)
    noise = 1 + 0.02 * draw.standard_normal((seeds, 1, units))
    return 100 * curve[:, None] * noise


def reaches(bits: Mapping[str, Numbers]) -> dict[str, Judged]:
    counts = np.full((6, 30), 100)
    return judge_order_reach(bits, counts, (2, 4, 8, 16, 32, 64), "a", unit_kind="file").cells


def test_order_reach_is_judged_in_octaves_and_shown_in_characters() -> None:
    lost = curves(0.08)
    lost[2] = np.inf
    found = reaches({"a": curves(0.08), "b": curves(0.16), "c": curves(0.09), "d": lost})
    assert found["a"].value.mean == pytest.approx(16, rel=0.02)
    assert found["b"].value.mean == pytest.approx(32, rel=0.02)
    assert found["b"].ci_low and found["b"].ci_low < 32 < found["b"].ci_high < 34
    verdicts = {cell: one.verdict for cell, one in found.items()}
    assert verdicts["b"].label == "better" and verdicts["b"].difference == pytest.approx(1, 0.05)
    assert verdicts["c"].label == "equivalent"
    assert verdicts["d"].insufficient.cause == "seeds"
    assert found["d"].value.per_seed[2] is None


def test_two_bounds_are_never_equivalent() -> None:
    found = reaches({"a": curves(5.0), "b": curves(9.0)})
    assert found["a"].value.mean == found["b"].value.mean == 64
    assert found["b"].verdict.label == "inconclusive" and found["b"].verdict.power is None


def test_expected_best_is_mean_over_all_draws() -> None:
    results = [1.7, 1.5, 2.2, 1.5, 3.0]
    found = expected_best(results)
    for trials in range(1, 6):
        every = [min(ways) for ways in product(results, repeat=trials)]
        assert found[trials - 1] == pytest.approx(sum(every) / len(every), rel=1e-12)
