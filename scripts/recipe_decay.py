"""Compare forms and lengths of learning-rate decay: results in docs/explanation/recipes.md.

    python scripts/recipe_decay.py --text NAME=PATH --out docs/explanation/recipes/decay.csv

All decays of a run start from the same weights: the rate is constant until a decay begins, and a
copy is decayed. 100,000 parameters, 1.2 million characters, validated as the search does.
"""

import argparse
import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from recipe_settings import CHARACTERS, SOURCE, adopted, start_setting
from recipes import advance, validate

from charlm.comparison.budget_matching import SizeSearch, with_hidden_size
from charlm.config import Config, validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.execution.device import disable_malloc_trim
from charlm.models.build import build_char_lm, select_kernel
from charlm.settings.values import FINAL_LR_FRACTION
from charlm.training import trainer as trainer_module
from charlm.training.trainer import Trainer

PARAMETERS = 100_000
SCHEDULE = "learning_rate"  # the function that the trainer takes the rate from
Decay = tuple[float, str]  # last part of the run, form
FORMS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1 - progress,
    "sqrt": lambda progress: 1 - math.sqrt(progress),
}
DECAYS: Sequence[Decay] = (
    *((0.5, "linear"), (0.3, "linear"), (0.3, "sqrt"), (0.2, "linear"), (0.2, "sqrt")),
)
FORM_RATES = {"lstm": 0.016, "gru": 0.006}
# With the form that was adopted: rates around those of the search.
RATES = {"lstm": (0.011, 0.024), "gru": (0.005, 0.009), "rnn": (0.0035, 0.006)}
COLUMNS = ("text", "cell", "learning_rate", "seed", "decay", "form", "bits")


def constant(config: Config, step: int, max_steps: int, end_step: int | None = None) -> float:
    """Return the rate of a step before any decay."""
    del max_steps, end_step
    return config.learning_rate * min(1.0, (step + 1) / (config.warmup_steps + 1))


def decaying(start: int, form: str) -> Callable[..., float]:
    """Return the function that gives the rate of a step in a decay."""

    def rate(config: Config, step: int, max_steps: int, end_step: int | None = None) -> float:
        del end_step
        share = FORMS[form]((step + 1 - start) / (max_steps - start))
        return config.learning_rate * (FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * share)

    return rate


def measure(
    cell: str, rate: float, seed: int, corpus: Corpus, decays: Sequence[Decay]
) -> list[float]:
    """Return validation bits per character after each decay; the longest come first."""
    setting = adopted(start_setting(cell, "", PARAMETERS))
    names = ("cell", "batch_size", "recurrent_init", "grad_clip", "warmup_steps", "beta1")
    values = {name: getattr(setting, name) for name in names}
    size = corpus.vocabulary.size
    config = validate_config({**values, "learning_rate": rate, "seed": seed, "embedding_dim": 32})
    config = with_hidden_size(config, SizeSearch(config, size, "params").nearest(PARAMETERS))
    kernel, _ = select_kernel(config)
    steps = CHARACTERS // (config.batch_size * config.seq_len)
    trainer = Trainer(build_char_lm(config, size, kernel, "cpu"), config, steps)
    trainer.optimizer.betas = (setting.beta1, setting.beta2)
    bits = []
    for length, form in decays:
        start = steps - round(length * steps)
        setattr(trainer_module, SCHEDULE, constant)
        advance(trainer, corpus, start)
        setattr(trainer_module, SCHEDULE, decaying(start, form))
        with trainer.branch(steps):
            advance(trainer, corpus, steps)
            bits.append(validate(trainer, corpus))
    return bits


def main() -> None:
    """Measure what the CSV lacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", required=True, metavar="NAME=PATH", help="text of your own")
    parser.add_argument("--out", required=True, type=Path, help="CSV that results are appended to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()
    own, _, path = arguments.text.partition("=")
    config = Config(split_by="position")
    corpora = {name: load_corpus(text, config) for name, text in ((own, path), (SOURCE, SOURCE))}
    jobs = [(t, c, FORM_RATES[c], s, DECAYS) for s in (0, 1) for t in corpora for c in FORM_RATES]
    adopted_form: Sequence[Decay] = ((0.3, "sqrt"),)
    jobs += [(t, c, r, 0, adopted_form) for t in corpora for c in RATES for r in RATES[c]]
    done = set()
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            done = {tuple(row.values())[:4] for row in csv.DictReader(file)}
    else:
        with arguments.out.open("w", newline="") as file:
            csv.writer(file).writerow(COLUMNS)
    for text, cell, rate, seed, decays in jobs:
        if (text, cell, str(rate), str(seed)) in done:
            continue
        results = measure(cell, rate, seed, corpora[text], decays)
        with arguments.out.open("a", newline="") as file:
            for decay, bits in zip(decays, results, strict=True):
                row = (text, cell, rate, seed, *decay, f"{bits:.4f}")
                csv.writer(file).writerow(row)
                print(*row, flush=True)


if __name__ == "__main__":
    main()
