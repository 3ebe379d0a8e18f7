"""Measure how often the intervals of a comparison hold the truth, by simulation.

    python scripts/coverage.py [--repeats 1000]

Prints the tables of docs/explanation/statistics.md.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from charlm.comparison import bootstrap
from charlm.comparison.bootstrap import estimate_mean, studentized_bootstrap
from charlm.comparison.bracket import fit_rates
from charlm.comparison.order_reach import order_reach_influences
from charlm.comparison.request import DEFAULT_MARGIN
from charlm.probes.order_reach import TOLERANCE

LENGTH = 1000  # characters of a unit, on average
RESAMPLES = 999
CORRELATIONS = (0.0, 0.3, 0.5, 0.7, 0.8)
BEST_RATES = (1 / 2, 2 / 3, 1, 3 / 2, 2)  # over the recipe's


@dataclass(frozen=True)
class Scenario:
    """Two cells of the same quality.

    Attributes:
        seeds: Runs of each.
        units: Units of text.
        of_seeds: Standard deviation of their difference over seeds, in bits per character.
        of_units: Over units of text.
        of_both: Of each seed in each unit.
        correlation: Of neighboring units.
        are_files: Whether the units are files: independent, and known to be.
        spread: Standard deviation of the logarithm of a unit's length.
        longest: Longest unit, in average lengths, as if text were cut off there.
        skewed: Whether all noise has a skewness of 1.
    """

    seeds: int = 6
    units: int = 50
    of_seeds: float = 0.005
    of_units: float = 0.02
    of_both: float = 0.01
    correlation: float = 0.0
    are_files: bool = False
    spread: float = 0.0
    longest: float = np.inf
    skewed: bool = False


TEXT_DECIDES = Scenario()
SEEDS_DECIDE = Scenario(of_seeds=0.02, of_units=0.002, of_both=0.002)
INTERACTION_DECIDES = Scenario(of_seeds=0.001, of_units=0.0, of_both=0.02)


def noise(generator: np.random.Generator, shape: tuple[int, ...], skewed: bool) -> np.ndarray:
    """Return noise of mean 0 and variance 1, with a skewness of 0 or 1."""
    if skewed:
        return (generator.standard_gamma(4, shape) - 4) / 2
    return generator.standard_normal(shape)


def draw(scenario: Scenario, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return differences in bits, (seeds, units), with mean 0, and lengths, (units,)."""
    seeds, units, r = scenario.seeds, scenario.units, scenario.correlation
    logarithms = scenario.spread * generator.standard_normal(units)
    lengths = LENGTH * np.minimum(np.exp(logarithms), scenario.longest)
    of_units = noise(generator, (units,), scenario.skewed)
    for unit in range(1, units):
        of_units[unit] = r * of_units[unit - 1] + (1 - r * r) ** 0.5 * of_units[unit]
    bits = scenario.of_seeds * noise(generator, (seeds, 1), scenario.skewed)
    bits = bits + scenario.of_units * of_units
    bits = bits + scenario.of_both * noise(generator, (seeds, units), scenario.skewed)
    return bits * lengths, lengths


def coverage(scenario: Scenario, repeats: int) -> tuple[float, float]:
    """Return the share of 95 % intervals that hold the truth, and their median length."""
    generator = np.random.default_rng(1)
    intervals = []
    for _ in range(repeats):
        sums, lengths = draw(scenario, generator)
        estimate = estimate_mean(sums, lengths, are_ordered=not scenario.are_files)
        intervals.append(studentized_bootstrap(estimate, seed=0).interval(0.05))
    return summarize(intervals, 0.0)


def summarize(intervals: Sequence[tuple[float, float]], truth: float) -> tuple[float, float]:
    """Return the share of intervals that hold the truth, and their median length."""
    low, high = np.array(intervals).T
    return float(((low <= truth) & (truth <= high)).mean()), float(np.median(high - low))


def print_table(title: str, columns: Sequence[str], rows: Iterable[tuple[str, list[str]]]) -> None:
    """Print a table in Markdown, row by row."""
    print(f"\n**{title}**\n\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, cells in rows:
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def coverages(
    columns: Mapping[str, Scenario], repeats: int, variations: Sequence[tuple[int, int, bool]]
) -> Iterator[tuple[str, list[str]]]:
    """Yield a row of coverages in percent for each number of units and seeds, and skewness."""
    for units, seeds, skewed in variations:
        cells = [
            coverage(replace(scenario, units=units, seeds=seeds, skewed=skewed), repeats)[0]
            for scenario in columns.values()
        ]
        name = f"{units} units, {seeds} seeds{', skewed' if skewed else ''}"
        yield name, [f"{100 * cell:.1f}" for cell in cells]


# Units, seeds, and whether noise is skewed.
VARIATIONS = [(20, 6, False), (20, 6, True), (50, 6, False), (50, 6, True), (50, 10, False)]
BLOCKS = {f"r = {r}": replace(TEXT_DECIDES, correlation=r) for r in CORRELATIONS}
FILES = {
    "equal": replace(TEXT_DECIDES, are_files=True),
    "log sd 0.5": replace(TEXT_DECIDES, are_files=True, spread=0.5),
    "log sd 1": replace(TEXT_DECIDES, are_files=True, spread=1.0),
    "log sd 1, cut at the mean": replace(TEXT_DECIDES, are_files=True, spread=1.0, longest=1.0),
}
OTHERS = {"seeds decide": SEEDS_DECIDE, "interaction decides": INTERACTION_DECIDES}


class ReachCoverage(NamedTuple):
    """Coverage of the order reach of a cell, and of its difference to others.

    Attributes:
        own: Share of intervals that hold the reach of a cell, and their median length in octaves.
        bias: Mean deviation of a reach, in octaves.
        equal: Share and length of intervals of the difference to a cell that reaches as far.
        farther: To a cell that reaches 1.5 octaves further.
    """

    own: tuple[float, float]
    bias: float
    equal: tuple[float, float]
    farther: tuple[float, float]


FARTHER = 1.5  # octaves


def order_reach_coverage(units: int, error: float, repeats: int) -> ReachCoverage:
    """Return how often the intervals of the order reach are right.

    Cells with six seeds each lose 0.2 bits beyond 4 characters, and 0.8 octaves less per octave.
    Seeds differ by 20 %, units by 50 %.

    Args:
        units: Of text.
        error: Standard deviation of each point of the curve in each unit, in bits, the same for
            all cells; 0.7 of it is added for each seed.
        repeats: Simulated comparisons.
    """
    generator = np.random.default_rng(1)
    lengths = 2 ** np.arange(2, 12)
    truth = 2 + np.log2(0.2 / TOLERANCE) / 0.8
    counts = np.ones((len(lengths), units))

    def interval(influences: np.ndarray) -> tuple[float, float]:
        estimate = estimate_mean(influences, np.ones(units), are_ordered=False)
        return studentized_bootstrap(estimate, seed=0).interval(0.05)

    own, equal, farther, reaches = [], [], [], []
    for _ in range(repeats):
        of_units = 1 + 0.5 * generator.standard_normal(units)
        common = error * generator.standard_normal((len(lengths), units))
        influences = []
        for octaves in (0.0, 0.0, FARTHER):
            of_seeds = np.exp(0.2 * generator.standard_normal((6, 1, 1)))
            decay = 0.2 * 2 ** (-0.8 * (np.arange(len(lengths)) - octaves))
            noise_of_seeds = 0.7 * error * generator.standard_normal((6, len(lengths), units))
            sums = decay[:, None] * of_seeds * of_units + common + noise_of_seeds
            influences.append(order_reach_influences(sums, counts, lengths))
        first, second, third = influences
        reaches.append(first.mean())
        own.append(interval(first))
        equal.append(interval(second - first))
        farther.append(interval(third - first))
    return ReachCoverage(
        own=summarize(own, truth),
        bias=float(np.mean(reaches)) - truth,
        equal=summarize(equal, 0.0),
        farther=summarize(farther, FARTHER),
    )


def bracket_warnings(noise: float, best: float, repeats: int) -> float:
    """Return how often the bracket says of a cell, one of three, that its recipe does not fit.

    Twice or half the best rate costs 0.05 bits.

    Args:
        noise: Standard deviation of a run over seeds, in bits.
        best: Learning rate that is best for the text, over that of the recipe.
        repeats: Simulated cells.
    """
    generator = np.random.default_rng(1)
    recipe = 3**0.35  # for a third of the characters, over that of the compared runs
    factors = np.array([0.5, *[1.0] * 6, 2.0])
    expected = 2 + 0.05 * np.log2(factors / (best * recipe)) ** 2
    warnings = 0
    for _ in range(repeats):
        low, *seeds, high = (expected + noise * generator.standard_normal(len(factors))).tolist()
        by_factor = {0.5: [low], 1.0: seeds, 2.0: [high]}
        fit = fit_rates(by_factor, recipe, DEFAULT_MARGIN, tests=3)
        warnings += fit is not None and not fit.recipe_fits
    return warnings / repeats


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="simulations of each number")
    repeats = parser.parse_args().repeats
    bootstrap.RESAMPLES = RESAMPLES
    print(f"Coverage of 95 % intervals in percent, {repeats} simulated comparisons each.")
    tables = (
        ("Text decides; neighboring blocks correlate by r", BLOCKS),
        ("Text decides; files, with lengths that vary", FILES),
        ("Other noise", OTHERS),
    )
    for title, columns in tables:
        print_table(title, list(columns), coverages(columns, repeats, VARIATIONS))
    rows = []
    for units in (20, 50):
        for error in (0.01, 0.03):
            found = order_reach_coverage(units, error, repeats)
            intervals = (found.own, found.equal, found.farther)
            cells = [f"{100 * covered:.1f} ({length:.1f})" for covered, length in intervals]
            rows.append((f"{units} units, {error} bits a unit", [*cells, f"{found.bias:+.2f}"]))
    heads = ["own", "difference 0", f"difference {FARTHER}", "bias of own"]
    print_table("Order reach: coverage, and length in octaves", heads, rows)
    rows = [
        (
            f"{noise} bits over seeds",
            [f"{100 * bracket_warnings(noise, best, repeats):.1f}" for best in BEST_RATES],
        )
        for noise in (0.01, 0.02)
    ]
    heads = [f"best rate × {best:.3g}" for best in BEST_RATES]
    print_table("Bracket: recipes that are said not to fit", heads, rows)


if __name__ == "__main__":
    main()
