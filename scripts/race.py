"""Train on tiny Shakespeare for a budget of CPU time: results in docs/explanation/race.md.

    python scripts/race.py --corpus tinyshakespeare.txt [--only NAME] [--seeds 3] [--small]

A recipe is a set of settings with a number of steps whose CPU time stays within a budget. The score
therefore repeats exactly, and only the time depends on the machine. Time counts once the text is
encoded, the model built and its kernel compiled. The score is charlm's own: each character of the
last 10 % counts once, as one stream with carried state.
"""

import argparse
import statistics
import time
from typing import Any, NamedTuple

import torch

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus, load_corpus
from charlm.evaluation.scoring import score_text
from charlm.execution.device import disable_malloc_trim
from charlm.models.build import build_char_lm, select_kernel
from charlm.training.trainer import Trainer


class Recipe(NamedTuple):
    """Settings, and the score that they are meant to reach within a budget."""

    seconds: float  # CPU seconds
    nats: float  # per character
    settings: dict[str, Any]


GRU: dict[str, Any] = {
    "cell": "gru-cho",
    "seq_len": 32,
    "recurrent_init": "orthogonal",
    "beta1": 0.8,
    "warmup_steps": 20,
    "weight_decay": 0.05,
    "grad_clip": 1.0,
    "lr_schedule": "linear",
    "split_by": "position",
    "min_char_frequency": 0.0,
}
BETA2 = 0.99  # the race was run with it


def gru_recipe(seconds: float, nats: float, **settings: float) -> Recipe:
    """Return a recipe for a GRU with these settings besides the common ones."""
    return Recipe(seconds, nats, GRU | settings)


RECIPES = {
    "5s": gru_recipe(
        5,
        1.886,
        hidden_size=128,
        embedding_dim=128,
        batch_size=16,
        learning_rate=0.015,
        max_steps=600,
    ),
    "30s": gru_recipe(
        30,
        1.55,
        hidden_size=192,
        embedding_dim=128,
        batch_size=16,
        learning_rate=0.008,
        max_steps=3700,
    ),
    "186s": gru_recipe(
        186,
        1.45,
        hidden_size=352,
        embedding_dim=256,
        batch_size=32,
        learning_rate=0.006,
        max_steps=4700,
        weight_decay=0.1,
        dropout=0.2,
    ),
    "1800s": gru_recipe(
        1800,
        1.42,
        hidden_size=448,
        embedding_dim=256,
        batch_size=32,
        learning_rate=0.006,
        max_steps=20000,
        dropout=0.2,
        weight_dropout=0.2,
    ),
}
SMALL = {"hidden_size": 16, "embedding_dim": 8, "batch_size": 4, "seq_len": 8, "max_steps": 5}


def train_and_score(settings: dict[str, Any], seed: int, corpus: Corpus) -> tuple[float, float]:
    """Return CPU seconds of training, and nats per character of the last 10 %."""
    config = validate_config(settings | {"seed": seed})
    kernel, _ = select_kernel(config)
    size = corpus.vocabulary.size
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed)
    # A first step compiles and loads what is made once per machine.
    Trainer(build_char_lm(config, size, kernel, "cpu"), config, 1).train_step(batches[0])

    trainer = Trainer(build_char_lm(config, size, kernel, "cpu"), config, config.max_steps)
    trainer.optimizer.betas = (config.beta1, BETA2)
    start = time.process_time()
    for step in range(config.max_steps):
        trainer.train_step(batches[step])
    seconds = time.process_time() - start
    span = corpus.record.splits["valid"][0], corpus.record.splits["test"][1]
    score = score_text(trainer.model, corpus.vocabulary, corpus.encoding, span)
    assert score.nats_per_char is not None
    return seconds, score.nats_per_char


def main() -> None:
    """Race the recipes and print a line for each seed, the mean and the worst."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", required=True, help="text; its first 90 %% is for training")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--first", type=int, default=1, help="first seed; the search used 0")
    parser.add_argument("--only", choices=RECIPES, help="one recipe instead of all")
    parser.add_argument("--small", action="store_true", help="tiny models, as a smoke test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()
    corpus = load_corpus(arguments.corpus, validate_config(GRU))
    print(f"corpus {corpus.record.digest.sha256}")
    print("recipe   seed    CPU s   nats/char   target")
    for name in [arguments.only] if arguments.only else RECIPES:
        recipe = RECIPES[name]
        settings = recipe.settings | (SMALL if arguments.small else {})
        results = []
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            seconds, nats = train_and_score(settings, seed, corpus)
            results.append((seconds, nats))
            print(f"{name:<8} {seed:4} {seconds:8.1f} {nats:11.4f}", flush=True)
        all_seconds, all_nats = zip(*results, strict=True)
        target = f"{recipe.nats} in {recipe.seconds:.0f} s"
        for label, summary in (("mean", statistics.mean), ("worst", max)):
            row = f"{summary(all_seconds):8.1f} {summary(all_nats):11.4f}"
            print(f"{name:<7} {label:>5} {row}   {target}")


if __name__ == "__main__":
    main()
