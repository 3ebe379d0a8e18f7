"""Coarse search of the learning rates of cells that the search of recipes did not have.

    python scripts/recipe_rates.py --cells deltanet,mamba [--seeds 1] [--work rates]

Each cell has 25,000 parameters and reads 300,000 characters of Python's source code at rates that
are a factor of two apart, until the best lies between two others. A parabola through the best three
gives the rate, which is scaled to the size and budget of `Recipe.learning_rate`. A run that is
finished is not trained again.
"""

import argparse
import math
import statistics
from pathlib import Path

import numpy as np

from charlm import Corpus, load_corpus, train
from charlm.comparison.budget_matching import SizeSearch
from charlm.config import Config, validate_config
from charlm.errors import DivergedError
from charlm.recipes import (
    BASE_CHARACTERS,
    BASE_PARAMETERS,
    BUDGET_EXPONENT,
    SIZE_EXPONENT,
    get_recipe,
)

PARAMETERS, CHARACTERS = 25_000, 300_000
SCALE = (PARAMETERS / BASE_PARAMETERS) ** SIZE_EXPONENT
SCALE *= (CHARACTERS / BASE_CHARACTERS) ** BUDGET_EXPONENT
SMALLEST, LARGEST = 2**-11, 2**-3  # rates


def main() -> None:
    """Search the rate of each cell, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", required=True, help="names by commas")
    parser.add_argument("--seeds", type=int, default=1, help="runs at each rate")
    parser.add_argument("--work", type=Path, default=Path("rates"), help="directory of the runs")
    arguments = parser.parse_args()
    corpus = load_corpus("python-source", Config())
    for cell in arguments.cells.split(","):
        bits = search(corpus, cell, arguments.seeds, arguments.work)
        tried = ", ".join(f"{rate:.4g}: {bits[rate]:.3f}" for rate in sorted(bits))
        rate = best_rate(bits)
        print(
            f"{cell}: {rate / SCALE:.2g} (at this size and budget {rate:.3g}; {tried})", flush=True
        )


def search(corpus: Corpus, cell: str, seeds: int, work: Path) -> dict[float, float]:
    """Return rate -> mean of the lowest validation, with the best rate between two others."""
    sizes = SizeSearch(Config(cell=cell, embedding_dim=32), corpus.vocabulary.size, "params")
    hidden_size = sizes.nearest(PARAMETERS)
    first = 2.0 ** round(math.log2(get_recipe(cell).learning_rate * SCALE))
    bits: dict[float, float] = {}

    def measure(rate: float) -> None:
        results = []
        for seed in range(1, seeds + 1):
            config = validate_config(
                {
                    "cell": cell,
                    "hidden_size": hidden_size,
                    "embedding_dim": 32,
                    "learning_rate": rate,
                    "characters": CHARACTERS,
                    "seed": seed,
                    "final_eval": "none",
                    "keep": "weights",
                }
            )
            try:
                run = train(corpus, config, work / f"{cell}-{rate:.5f}-{seed}", resume=True)
                assert run.report is not None and run.report.best_valid_bits is not None
                results.append(run.report.best_valid_bits)
            except DivergedError:
                results.append(math.inf)
        bits[rate] = statistics.mean(results)

    for rate in (first / 2, first, 2 * first):
        measure(rate)
    while (best := min(bits, key=bits.__getitem__)) in (min(bits), max(bits)):
        following = best / 2 if best == min(bits) else best * 2
        if not SMALLEST <= following <= LARGEST:
            break
        measure(following)
    return bits


def best_rate(bits: dict[float, float]) -> float:
    """Return the lowest point of a parabola through the best rate and its neighbours."""
    best = min(bits, key=bits.__getitem__)
    near = [best / 2, best, 2 * best]
    if not all(math.isfinite(bits.get(rate, math.inf)) for rate in near):
        return best
    a, b, _ = np.polyfit(np.log2(near), [bits[rate] for rate in near], 2)
    return float(2.0 ** (-b / (2 * a)))


if __name__ == "__main__":
    main()
