"""Validation bits of cells in residual blocks, at parts of the learning rate of their recipe.

    python scripts/recipe_blocks.py TEXT [--cells gru,lstm] [--seeds 1,2] [--factors 1,0.55,0.3]

A run that is finished is not trained again.
"""

import argparse
from pathlib import Path

from msgspec.structs import replace

from charlm import Config, Corpus, load_corpus, train
from charlm.comparison.budget_matching import SizeSearch
from charlm.recipes import BASE_PARAMETERS, RECIPES, scaled_rate
from charlm.runs.metrics import load_latest_metrics

CHARACTERS = 500_000
IN_BLOCKS = Config(embedding_dim=32, block="residual", characters=CHARACTERS, final_eval="none")


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", help="text to train on")
    parser.add_argument("--cells", default="gru,lstm", help="cells, by commas")
    parser.add_argument("--seeds", default="1,2", help="seeds, by commas")
    parser.add_argument("--factors", default="1,0.55,0.3", help="rates over the bare recipe's")
    parser.add_argument("--work", type=Path, default=Path("block-rates"), help="directory of runs")
    arguments = parser.parse_args()
    corpus = load_corpus(arguments.text, Config())
    factors = [float(factor) for factor in arguments.factors.split(",")]
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    print("| cell in residual blocks |", " | ".join(f"{factor:g}" for factor in factors), "|")
    print("| --- " * (1 + len(factors)) + "|")
    for cell in arguments.cells.split(","):
        columns = [
            ", ".join(f"{bits(corpus, cell, seed, factor, arguments.work):.3f}" for seed in seeds)
            for factor in factors
        ]
        print(f"| {cell} |", " | ".join(columns), "|")


def bits(corpus: Corpus, cell: str, seed: int, factor: float, work: Path) -> float:
    """Return the validation bits per token of a run at a part of the bare recipe's rate."""
    config = replace(IN_BLOCKS, cell=cell, seed=seed)
    size = SizeSearch(config, corpus.vocabulary.size, "params").nearest(BASE_PARAMETERS)
    rate = scaled_rate(RECIPES[cell], "none", BASE_PARAMETERS, CHARACTERS) * factor
    config = replace(config, hidden_size=size, learning_rate=float(f"{rate:.3g}"))
    run = train(corpus, config, work / f"{cell}-{seed}-{factor:g}", resume=True)
    result = load_latest_metrics(run.path).valid_bits
    assert result is not None, "a finished run has been validated"
    return result


if __name__ == "__main__":
    main()
