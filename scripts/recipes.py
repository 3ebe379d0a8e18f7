"""Search the recipes of the cells: docs/explanation/recipes.md says how, and what came out.

    python scripts/recipes.py --text NAME=PATH --out docs/explanation/recipes/runs.csv
        [--minutes 60]

Texts are python-source, python-docs and one of your own. Every run is a line of the CSV. A search
that was stopped goes on where it was: a run that has a line is not trained again. All runs are
trained in one process on one thread. A run also gives the loss at a quarter of its characters:
there a copy is decayed, validated and thrown away, since the schedule is constant until its last
fifth.
"""

import argparse
import csv
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from recipe_settings import (
    FIRST_CELLS,
    LARGE_CELLS,
    OTHER_CELLS,
    OTHER_CHARACTERS,
    SOURCE,
    Outcome,
    Setting,
    adopted,
    at_rate,
    start_setting,
)

from charlm.comparison.budget_matching import SizeSearch, with_hidden_size
from charlm.config import Config, validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus, load_corpus
from charlm.errors import DivergedError
from charlm.evaluation.scoring import iter_token_nll
from charlm.execution.device import disable_malloc_trim
from charlm.models.build import build_char_lm, select_kernel
from charlm.models.char_lm import CharLM
from charlm.training.schedule import branch_steps
from charlm.training.trainer import Trainer

VALIDATION_STREAMS, VALIDATION_TOKENS = 64, 1024


class Search:
    """Runs of one search, with those that the CSV already has."""

    def __init__(self, texts: dict[str, str], path: Path, deadline: float) -> None:
        config = Config(split_by="position")
        self.corpora = {name: load_corpus(text, config) for name, text in texts.items()}
        self.path, self.deadline = path, deadline
        self.outcomes: dict[Setting, Outcome] = read_runs(path) if path.exists() else {}
        if not path.exists():
            with path.open("w", newline="") as file:
                csv.writer(file).writerow((*Setting._fields, *Outcome._fields))

    def run(self, setting: Setting) -> Outcome:
        """Return the outcome of a run; train it if it is new.

        Raises:
            TimeoutError: The time is up.
        """
        if setting not in self.outcomes:
            if time.monotonic() > self.deadline:
                raise TimeoutError
            outcome = train(setting, self.corpora[setting.text])
            self.outcomes[setting] = outcome
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow((*setting, *outcome))
            print(*setting, *(f"{value:.4g}" for value in outcome), flush=True)
        return self.outcomes[setting]

    def search_rate(self, setting: Setting, reach: int = 3) -> Setting:
        """Return the setting at the best of its rates for the long budget.

        Rates on a grid of factor 2 are added while the best of either budget is at an end.
        """
        low, high = -1, 1
        while True:
            grid = range(low, high + 1)
            outcomes = [self.run(at_rate(setting, steps)) for steps in grid]
            best = [min(grid, key=lambda steps: outcomes[steps - low][budget]) for budget in (0, 1)]
            if min(best) == low > -reach:
                low -= 1
            elif max(best) == high < reach:
                high += 1
            else:
                return at_rate(setting, best[1])


def read_runs(path: Path) -> dict[Setting, Outcome]:
    """Return the runs of a CSV."""
    runs = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            setting = [kind(row[name]) for name, kind in Setting.__annotations__.items()]
            outcome = [kind(row[name]) for name, kind in Outcome.__annotations__.items()]
            runs[Setting(*setting)] = Outcome(*outcome)
    return runs


def train(setting: Setting, corpus: Corpus) -> Outcome:
    """Train a model, and a decayed copy at a quarter of its characters, and validate both."""
    started = time.process_time()
    size = corpus.vocabulary.size
    names = ("cell", "block", "batch_size", "recurrent_init", "grad_clip", "beta1", "warmup_steps")
    values = {name: getattr(setting, name) for name in (*names, "learning_rate", "seed")}
    config = validate_config({**values, "embedding_dim": 32})
    hidden_size = SizeSearch(config, size, "params").nearest(setting.parameters)
    config = with_hidden_size(config, hidden_size)
    kernel, _ = select_kernel(config)
    long = setting.characters // (config.batch_size * config.seq_len)
    short = long // 4
    trainer = Trainer(build_char_lm(config, size, kernel, "cpu"), config, long)
    trainer.optimizer.betas = (setting.beta1, setting.beta2)
    short_bits = long_bits = math.inf
    try:
        advance(trainer, corpus, branch_steps(short)[0])
        with trainer.branch(short):
            advance(trainer, corpus, short)
            short_bits = validate(trainer, corpus)
        advance(trainer, corpus, long)
        long_bits = validate(trainer, corpus)
    except DivergedError:
        pass
    seconds = round(time.process_time() - started, 1)
    return Outcome(short_bits, long_bits, size, hidden_size, seconds)


def advance(trainer: Trainer[CharLM], corpus: Corpus, end: int) -> None:
    """Train until a step."""
    config = trainer.config
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed)
    while trainer.step < end:
        trainer.train_step(batches[trainer.step])


def validate(trainer: Trainer[CharLM], corpus: Corpus) -> float:
    """Return bits per character in streams that are evenly spread over the validation split."""
    ids = corpus.split("valid")
    length = min(VALIDATION_TOKENS, len(ids) // VALIDATION_STREAMS)
    starts = np.linspace(0, len(ids) - length, VALIDATION_STREAMS).astype(int)
    streams = ids[starts + np.arange(length)[:, None]]
    windows = iter_token_nll(trainer.model, streams, corpus.vocabulary)
    return math.fsum(float(window.sum()) for window in windows) / math.log(2) / streams.size


def variants(best: Setting) -> Iterator[Setting]:
    """Yield the best setting with one thing changed; the rate goes with the root of the batch."""
    yield at_rate(best._replace(batch_size=16), 0.5)
    yield at_rate(best._replace(batch_size=4), -0.5)
    yield best._replace(recurrent_init="default")
    yield best._replace(grad_clip=0.25)
    yield at_rate(best._replace(grad_clip=0.25), 1)
    yield best._replace(beta2=0.95)
    yield best._replace(beta2=0.999)
    yield best._replace(beta1=0.8)
    yield best._replace(warmup_steps=200)


def second_variants(best: Setting) -> Iterator[Setting]:
    """Yield changes of the settings that were adopted."""
    yield best._replace(beta1=0.6)
    yield best._replace(beta2=0.99)


def search_settings(search: Search) -> None:
    """Change the other settings one by one, then those that gained together.

    That was done first, at the settings of the start, with GRU, LSTM and RNN on one text.
    """
    for size in (100_000, 25_000):
        for cell in FIRST_CELLS:
            search.search_rate(start_setting(cell, SOURCE, size))
    for cell in FIRST_CELLS:
        search.search_rate(adopted(start_setting(cell, SOURCE, 100_000)))
    for cell in FIRST_CELLS:
        for setting in variants(search.search_rate(start_setting(cell, SOURCE, 25_000))):
            search.run(setting)


def search_rates(search: Search, own: str) -> None:
    """Search the rate of every cell: of GRU, LSTM and RNN on all texts, of the others on two."""
    best = {
        cell: search.search_rate(adopted(start_setting(cell, SOURCE, 100_000)))
        for cell in FIRST_CELLS
    }

    def search_first_cells(text: str, parameters: int, seed: int = 0) -> None:
        for cell in FIRST_CELLS:
            search.search_rate(best[cell]._replace(text=text, parameters=parameters, seed=seed))

    search_first_cells(own, 100_000)
    search_first_cells(SOURCE, 25_000)
    for cell in FIRST_CELLS:
        for setting in second_variants(search.search_rate(best[cell]._replace(parameters=25_000))):
            search.run(setting)
    search_first_cells("python-docs", 25_000)
    others = {}
    for cell in OTHER_CELLS:
        setting = adopted(start_setting(cell, SOURCE, 25_000))
        others[cell] = search.search_rate(setting._replace(characters=OTHER_CHARACTERS))
    for number, cell in enumerate(OTHER_CELLS):
        text = ("python-docs", own)[number % 2]
        search.search_rate(others[cell]._replace(text=text))
    for cell in LARGE_CELLS:
        search.search_rate(at_rate(others[cell]._replace(parameters=100_000), -0.5))
    search_first_cells(own, 25_000)
    search_first_cells(SOURCE, 25_000, seed=1)
    for cell in ("gru", "lstm"):
        search.search_rate(adopted(start_setting(cell, SOURCE, 25_000))._replace(block="residual"))


def main() -> None:
    """Search until all is done or the time is up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", required=True, metavar="NAME=PATH", help="text of your own")
    parser.add_argument("--out", required=True, type=Path, help="CSV that runs are appended to")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()
    own, _, path = arguments.text.partition("=")
    texts = {"python-source": "python-source", "python-docs": "python-docs", own: path}
    search = Search(texts, arguments.out, time.monotonic() + 60 * arguments.minutes)
    try:
        search_settings(search)
        search_rates(search, own)
    except TimeoutError:
        print("the time is up: start again to go on")


if __name__ == "__main__":
    main()
