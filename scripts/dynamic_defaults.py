"""Search of the settings of dynamic evaluation on the validation splits of runs.

python scripts/dynamic_defaults.py RUN...

Prints bits per character of the beginning of each validation split, for each rate and decay, as
differences from those of the static weights. The test split is not read.
"""

import argparse
import itertools
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from charlm.data.corpus import reload_corpus
from charlm.evaluation.dynamic import iter_dynamic_nll, measure_update_scales
from charlm.evaluation.scoring import iter_token_nll
from charlm.results.costs import DynamicSettings
from charlm.runs.restore import load_model
from charlm.runs.run import load_run

RATES = (1e-4, 3e-4, 1e-3, 3e-3)
DECAYS = (0.0, 1e-3, 1e-2)
SEGMENTS = (5, 20, 60)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table per run, and the mean over runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--tokens", type=int, default=20_000, help="of each validation split")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--decays", type=float, nargs="+", default=DECAYS)
    parser.add_argument("--segments", type=int, nargs="+", default=SEGMENTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    differences: dict[tuple[int, float, float], list[float]] = {}
    for name in options.runs:
        run = load_run(name)
        corpus = reload_corpus(run.record.config, run.record.text)
        _, model = load_model(run)
        ids = corpus.split("valid")[: options.tokens]
        static = bits_per_token(iter_token_nll(model, ids[:, None], run.vocabulary), len(ids))
        print(f"{name}: static {static:.4f} bits per token of {len(ids):,} of valid")
        for segment in options.segments:
            train = corpus.split("train")
            scales = measure_update_scales(model, train, run.vocabulary, segment)
            for rate, decay in itertools.product(options.rates, options.decays):
                settings = DynamicSettings(rate=rate, decay=decay, segment=segment)
                windows = iter_dynamic_nll(model, ids, run.vocabulary, scales, settings)
                difference = bits_per_token(windows, len(ids)) - static
                differences.setdefault((segment, rate, decay), []).append(difference)
                print(f"  segment {segment} rate {rate:g} decay {decay:g}: {difference:+.4f}")
    print("mean over runs, the best first")
    means = {key: math.fsum(values) / len(values) for key, values in differences.items()}
    for (segment, rate, decay), mean in sorted(means.items(), key=lambda item: item[1])[:10]:
        print(f"  segment {segment} rate {rate:g} decay {decay:g}: {mean:+.4f}")


def bits_per_token(windows: Iterable[Tensor], tokens: int) -> float:
    """Return the mean of costs that come in windows."""
    return math.fsum(float(window.sum()) for window in windows) / math.log(2) / tokens


if __name__ == "__main__":
    main()
