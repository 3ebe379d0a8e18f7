"""A small Transformer beside the cells: what attention makes of the same parameters and updates.

It is trained and tuned as they are, with the same seeds and data order, and not judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from charlm.comparison.budget_matching import match_budget
from charlm.comparison.plan import PlannedRun, plan_runs
from charlm.comparison.report import load_run_report, mean_and_range
from charlm.errors import ConfigError
from charlm.evaluation.baselines import Baseline
from charlm.execution.jobs import Job
from charlm.results.text import CorpusRecord

REFERENCE_NAME = "transformer"
LAYERS = 4
TOLERANCE = 0.02  # share of the parameters that it misses at most: so many layers grow in big steps
# What attention has neither gate nor matrix nor kernel for is not asked of it.
TRANSFORMER_OVERRIDES = {
    "block": "residual",
    "num_layers": LAYERS,
    "forget_bias": "default",
    "kernel": "auto",
}
TRANSFORMER_OVERRIDES |= {"recurrent_init": "default", "weight_dropout": 0.0}


def plan_transformer_runs(
    settings: dict[str, Any],
    seeds: int,
    parameters: int,
    text: CorpusRecord,
    symbols: int,
    place: Path,
    say: Callable[[str], None],
) -> list[PlannedRun]:
    """Its runs; none, and it is said why, where no size has so many parameters."""
    try:
        own = {**settings, **TRANSFORMER_OVERRIDES}
        footing = match_budget(own, ["attention"], parameters, symbols, tolerance=TOLERANCE)
        return plan_runs(own, seeds, footing, text, symbols, place)
    except ConfigError as error:
        say(f"no {REFERENCE_NAME} stands beside the cells: {error}")
        return []


def exclude_shared(runs: Sequence[PlannedRun], others: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Those that are not among the others."""
    there = {one.path for one in others}
    return [one for one in runs if one.path not in there]


def transformer_jobs(
    runs: Sequence[PlannedRun], others: Sequence[PlannedRun], corpus: Sequence[str]
) -> list[Job]:
    """What trains them, but for those that are among the others."""
    return [
        replace(one.job(corpus), name=f"{REFERENCE_NAME} seed {one.config.seed}")
        for one in exclude_shared(runs, others)
    ]


def summarize_transformer(runs: Sequence[PlannedRun], tuned: bool) -> Baseline:
    """What its runs, one a seed, have come to: the mean of their bits."""
    if not runs:
        return {
            "name": REFERENCE_NAME,
            "bits_per_char": None,
            "bits_per_byte": None,
            "protocol": f"no size of {LAYERS} blocks comes near enough to so many parameters",
        }
    scores = [load_run_report(one)["score"] for one in runs]
    units = ("bits_per_char", "bits_per_byte")
    bits = {unit: mean_and_range([score and score[unit] for score in scores]) for unit in units}
    lost = sum(score is None for score in scores)
    many = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
    seeds = f"{lost} of {many} diverged" if lost else f"mean of {many}"
    return {
        "name": REFERENCE_NAME,
        **{unit: bits[unit]["mean"] for unit in units},
        "protocol": f"static: attention in {LAYERS} residual blocks of {runs[0].config.hidden_size}, "
        f"{runs[0].parameters:,} parameters, learning rate {runs[0].config.learning_rate:g}, "
        f"{'tuned as the cells were' if tuned else 'not tuned'}; {seeds}",
    }
