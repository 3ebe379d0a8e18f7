"""How well charlm models tiny Shakespeare for how much CPU time: docs/race.md has what came of it.

    python scripts/race.py --corpus tinyshakespeare.txt [--only NAME] [--seeds 3] [--small]

A recipe is settings and a number of updates, chosen so that its CPU time stays within a budget: so
the score repeats exactly and only the time depends on the machine. Time counts from when the text
is encoded and the model made; the kernels were compiled before. The score is charlm's own: each
character of the last 10 % once, in one stream, the state carried.
"""

import argparse
import statistics
import time
from typing import Any, NamedTuple

import torch

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus, load_corpus
from charlm.evaluation.scoring import evaluate
from charlm.execution.device import disable_malloc_trim
from charlm.models.build import build_char_lm, select_kernel
from charlm.training.trainer import Trainer


class Recipe(NamedTuple):
    """What is trained, and how good within how many CPU seconds it is meant to be."""

    seconds: float
    nats: float
    settings: dict[str, Any]


GRU = {
    "cell": "gru-cho",
    "seq_len": 32,
    "recurrent_init": "orthogonal",
    "beta1": 0.8,
    "warmup_steps": 20,
    "weight_decay": 0.05,
}
RECIPES = {
    "5s": Recipe(
        5,
        1.886,
        GRU
        | {
            "hidden_size": 128,
            "embedding_dim": 128,
            "batch_size": 16,
            "learning_rate": 0.015,
            "max_steps": 600,
        },
    ),
    "30s": Recipe(
        30,
        1.55,
        GRU
        | {
            "hidden_size": 192,
            "embedding_dim": 128,
            "batch_size": 16,
            "learning_rate": 0.008,
            "max_steps": 3700,
        },
    ),
    "186s": Recipe(
        186,
        1.45,
        GRU
        | {
            "hidden_size": 352,
            "embedding_dim": 256,
            "batch_size": 32,
            "learning_rate": 0.006,
            "max_steps": 4700,
        }
        | {"weight_decay": 0.1, "dropout": 0.2},
    ),
    "1800s": Recipe(
        1800,
        1.42,
        GRU
        | {
            "hidden_size": 448,
            "embedding_dim": 256,
            "batch_size": 32,
            "learning_rate": 0.006,
            "max_steps": 20000,
        }
        | {"dropout": 0.2, "weight_dropout": 0.2},
    ),
}
SMALL = {"hidden_size": 16, "embedding_dim": 8, "batch_size": 4, "seq_len": 8, "max_steps": 5}


def raced(settings: dict[str, Any], seed: int, corpus: Corpus) -> tuple[float, float]:
    """CPU seconds of training, and nats per character of the last 10 %."""
    config = validate_config(settings | {"seed": seed})
    kernel, _ = select_kernel(config)
    symbols = corpus.vocabulary.size
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed)
    # What is built and loaded once a machine: the cell's C, the optimiser's code.
    Trainer(build_char_lm(config, symbols, kernel, "cpu"), config, 1).train_step(batches[0])

    learner = Trainer(build_char_lm(config, symbols, kernel, "cpu"), config, config.max_steps)
    began = time.process_time()
    for update in range(config.max_steps):
        learner.train_step(batches[update])
    seconds = time.process_time() - began
    last = corpus.record.splits["valid"][0], corpus.record.splits["test"][1]
    return seconds, evaluate(learner.model, corpus.vocabulary, corpus.encoding, last)[
        "nats_per_char"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", required=True, help="the text; its first 90 % is trained on")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=1, help="the first seed; 0 was searched")
    parser.add_argument("--only", choices=RECIPES, help="one recipe, not all of them")
    parser.add_argument("--small", action="store_true", help="tiny models: only to see it work")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()
    corpus = load_corpus([asked.corpus], validate_config({"split_ratios": "90/5/5"}))
    print(f"corpus {corpus.record.digest.sha256}")
    print("recipe   seed    CPU s   nats/char   target")
    for name in [asked.only] if asked.only else RECIPES:
        recipe = RECIPES[name]
        settings = recipe.settings | (SMALL if asked.small else {})
        runs = []
        for seed in range(asked.first, asked.first + asked.seeds):
            runs.append(raced(settings, seed, corpus))
            print(f"{name:<8} {seed:4} {runs[-1][0]:8.1f} {runs[-1][1]:11.4f}", flush=True)
        seconds, nats = zip(*runs, strict=True)
        for what, of in (("mean", statistics.mean), ("worst", max)):
            target = f"{recipe.nats} in {recipe.seconds:.0f} s"
            print(f"{name:<7} {what:>5} {of(seconds):8.1f} {of(nats):11.4f}   {target}")


if __name__ == "__main__":
    main()
