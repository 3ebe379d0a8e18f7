"""Train GRU, LSTM and RNN by their recipes, with seeds that the search did not see, and score them.

    python scripts/recipe_targets.py --text NAME=PATH --out docs/explanation/recipes/targets.csv

100,000 parameters, 1.4 million characters, one thread; bits per character of the first 131,072
characters of the test split by position. A seed that has a line in the CSV is not trained again.
"""

import argparse
import csv
import time
from pathlib import Path

import torch
from recipe_settings import FIRST_CELLS, SOURCE
from recipes import advance

from charlm.comparison.budget_matching import SizeSearch, with_hidden_size
from charlm.config import Config, validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.evaluation.scoring import score_text
from charlm.execution.device import disable_malloc_trim
from charlm.models.build import build_char_lm, select_kernel
from charlm.recipes import apply_recipe
from charlm.training.trainer import Trainer

PARAMETERS, CHARACTERS = 100_000, 1_400_000
TEST_CHARACTERS = 131_072
COLUMNS = ("text", "cell", "learning_rate", "seed", "test_bits", "seconds")


def train(cell: str, seed: int, corpus: Corpus) -> tuple[Config, float]:
    """Return the settings of a run by recipe, and its test bits per character."""
    size = corpus.vocabulary.size
    config = validate_config({"cell": cell, "seed": seed, "embedding_dim": 32})
    hidden_size = SizeSearch(config, size, "params").nearest(PARAMETERS)
    config = apply_recipe(with_hidden_size(config, hidden_size), PARAMETERS, CHARACTERS)
    kernel, _ = select_kernel(config)
    steps = CHARACTERS // (config.batch_size * config.seq_len)
    trainer = Trainer(build_char_lm(config, size, kernel, "cpu"), config, steps)
    advance(trainer, corpus, steps)
    start, end = corpus.record.splits["test"]
    span = start, min(end, start + TEST_CHARACTERS)
    score = score_text(trainer.model, corpus.vocabulary, corpus.encoding, span)
    assert score.bits_per_char is not None
    return config, score.bits_per_char


def main() -> None:
    """Train what the CSV lacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", required=True, metavar="NAME=PATH", help="text of your own")
    parser.add_argument("--out", required=True, type=Path, help="CSV that runs are appended to")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 10, 11, ...")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()
    own, _, path = arguments.text.partition("=")
    config = Config(split_by="position")
    corpora = {name: load_corpus(text, config) for name, text in ((SOURCE, SOURCE), (own, path))}
    done = set()
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            done = {(row["text"], row["cell"], int(row["seed"])) for row in csv.DictReader(file)}
    else:
        with arguments.out.open("w", newline="") as file:
            csv.writer(file).writerow(COLUMNS)
    for seed in range(10, 10 + arguments.seeds):
        for text, corpus in corpora.items():
            for cell in FIRST_CELLS:
                if (text, cell, seed) in done:
                    continue
                start = time.process_time()
                used, bits = train(cell, seed, corpus)
                seconds = round(time.process_time() - start, 1)
                row = (text, cell, used.learning_rate, seed, f"{bits:.4f}", seconds)
                with arguments.out.open("a", newline="") as file:
                    csv.writer(file).writerow(row)
                print(*row, flush=True)


if __name__ == "__main__":
    main()
