"""Hyperparameter search: successive halving (Jamieson & Talwalkar 2016) of crossed settings.

Pure arithmetic: which settings a trial gets, which trials go on, which one is chosen. Every run of
a comparison is tuned by itself, on learning rates drawn for its seed. So the spread over seeds
includes the luck of tuning, and so do the intervals.

Learning rates are crossed with forget biases, so that neither is credited with the other's effect.
All trials are trained for a quarter of the steps, the best third of them for all. A shorter rung
compares models that have learned no more than how often each character occurs: after 33 of 300
steps, 13 of 18 trials were within 0.17 bits of that.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from charlm.config import Config, option_name
from charlm.errors import ConfigError
from charlm.results.tuning import ChosenTrial, Rung, SearchPlan, SeedTuning, Settings, TrialRecord
from charlm.seeding import derive_seed
from charlm.settings.values import MIN_CHRONO_LENGTH, Setting

TUNING_SEED = 1000  # of trials, plus the seed of their run; the seeds of runs are lower
FIRST_RUNG = 1 / 4  # of the steps of a run
MIN_RUNG_STEPS = 200  # before that, models have learned little more than frequencies
MIN_SURVIVORS = 2  # trials that go on: one of them is chosen
GOLDEN = (math.sqrt(5) - 1) / 2
BOUNDARY_FRACTION = 0.1  # of the logarithmic range of learning rates, at either end
MAX_LEARNING_RATE = 1000.0

SearchSpace = Mapping[str, Sequence[Setting]]  # learning_rate: both bounds; else the choices
SPACE: SearchSpace = {
    "learning_rate": (1e-3, 4e-2),
    "forget_bias": ("default", "0", "chrono"),
}


class SearchSettings(NamedTuple):
    """Number of trials per run, and the space that they are drawn from."""

    trials: int
    space: SearchSpace


class TrialResult(NamedTuple):
    """Result of a trial at one rung; bits is None if it diverged."""

    number: int
    steps: int
    bits: float | None


def make_search(trials: int, settings: Mapping[str, Setting], lr_range: str = "") -> SearchSettings:
    """Return the search over everything that `settings` leaves open.

    Args:
        trials: Trials per run.
        settings: Settings that the user fixed; they are not searched.
        lr_range: Such as "1e-3..4e-2"; empty for the default range.

    Raises:
        ConfigError: Nothing is left to search, or the arguments contradict each other.
    """
    if trials < MIN_SURVIVORS:
        raise ConfigError(
            f"cannot choose among --trials {trials}: there must be {MIN_SURVIVORS} or more. "
            "Try --trials 0 to disable tuning"
        )
    if lr_range and settings.get("learning_rate"):
        raise ConfigError(
            "cannot search --lr-range: --learning-rate fixes it. Try to leave one of them out"
        )
    space = {name: choices for name, choices in SPACE.items() if not settings.get(name)}
    seq_len = int(settings.get("seq_len", Config().seq_len))
    if "forget_bias" in space and seq_len < MIN_CHRONO_LENGTH:
        space["forget_bias"] = tuple(bias for bias in space["forget_bias"] if bias != "chrono")
    if not space:
        options = ", ".join(option_name(name) for name in SPACE)
        raise ConfigError(
            f"cannot use --trials {trials}: there is nothing left to search. "
            f"Try to leave one of {options} out"
        )
    if lr_range:
        space["learning_rate"] = parse_lr_range(lr_range)
    return SearchSettings(trials, space)


def parse_lr_range(text: str) -> tuple[float, float]:
    """Return both bounds of a range such as "1e-3..4e-2"."""
    first, _, last = text.partition("..")
    try:
        low, high = float(first), float(last)
    except ValueError:
        low = high = 0.0
    if not 0 < low < high <= MAX_LEARNING_RATE:
        raise ConfigError(
            f"cannot use --lr-range {text}: it must be two learning rates, the lower first. "
            "Try 1e-3..4e-2"
        )
    return low, high


def sample_settings(space: SearchSpace, rate: float, number: int, seed: int) -> Settings:
    """Return the settings of the trial with this number.

    Trial 0 has the rate of the recipe, or the nearest in the space, so that few trials do no harm.
    Each rate is tried with every forget bias before the next rate. Further rates follow the golden
    section from a start that is random for each seed: each falls into the widest gap that is left.

    Args:
        space: Space of this entry.
        rate: Learning rate of its recipe.
        number: Of the trial.
        seed: Of the run that is tuned.
    """
    biases = space.get("forget_bias", ())
    rate_number, bias_number = divmod(number, max(1, len(biases)))
    settings: Settings = {}
    if "learning_rate" in space:
        low, high = map(float, space["learning_rate"])
        if rate_number:
            position = (_uniform(seed) + rate_number * GOLDEN) % 1
            rate = float(f"{low * (high / low) ** position:.3g}")
        settings["learning_rate"] = min(max(low, rate), high)
    if biases:
        settings["forget_bias"] = biases[bias_number]
    return settings


def _uniform(seed: int) -> float:
    """Return a number in [0, 1) that depends on the seed alone."""
    return (derive_seed(TUNING_SEED, "learning rates", seed) >> 10) / 2**53


def num_trials(search: SearchSettings, space: SearchSpace) -> int:
    """Return the trials of an entry: no more than there are settings."""
    if "learning_rate" in space:
        return search.trials
    return min(search.trials, len(space.get("forget_bias", ("default",))))


def rung_schedule(trials: int, max_steps: int) -> dict[float, int]:
    """Return the number of trials by the fraction of a run's steps, shortest rung first.

    A rung that would eliminate no trial, or has as many steps as a run, is skipped.

    Args:
        trials: Trials of the first rung.
        max_steps: Optimizer steps of a run, the fewest of all entries.
    """
    first = max(FIRST_RUNG, MIN_RUNG_STEPS / max_steps)
    survivors = max(MIN_SURVIVORS, math.ceil(trials / 3))
    if first >= 1 or survivors >= trials:
        return {1.0: trials}
    return {first: trials, 1.0: survivors}


def plan_search(search: SearchSettings, max_steps: int) -> SearchPlan:
    """Return the search as reports show it, for runs of `max_steps` or more."""
    schedule = rung_schedule(search.trials, max_steps)
    return SearchPlan(
        trials=search.trials,
        seed=TUNING_SEED,
        space={name: tuple(choices) for name, choices in search.space.items()},
        rungs=tuple(Rung(fraction, trials) for fraction, trials in schedule.items()),
        cost_in_runs=sum(fraction * trials for fraction, trials in schedule.items()),
    )


def rank_trials(rung: Sequence[TrialResult]) -> list[int]:
    """Return the numbers of a rung's trials, best first, without those that diverged."""
    finite = sorted((trial.bits, trial.number) for trial in rung if trial.bits is not None)
    return [number for _, number in finite]


def select_best(results: Sequence[TrialResult]) -> TrialResult:
    """Return the best result of the longest rung; ties go to the lower number.

    A trial that diverged at any rung is chosen only if all did.
    """
    diverged = {trial.number for trial in results if trial.bits is None}

    def sort_key(trial: TrialResult) -> tuple[bool, int, float, int]:
        bits = math.inf if trial.bits is None else trial.bits
        return trial.number in diverged, -trial.steps, bits, trial.number

    return min(results, key=sort_key)


def boundary_side(learning_rate: float, bounds: Sequence[Setting]) -> Literal["", "low", "high"]:
    """Return the bound that a learning rate is near, on a logarithmic scale; "" for neither.

    A better one may lie beyond that bound.
    """
    low, high = map(float, bounds)
    position = math.log(learning_rate / low) / math.log(high / low)
    if position < BOUNDARY_FRACTION:
        return "low"
    return "high" if position > 1 - BOUNDARY_FRACTION else ""


def summarize_tuning(
    space: SearchSpace,
    rate: float,
    seed: int,
    results: Sequence[TrialResult],
    uniform_bits: float,
) -> SeedTuning:
    """Return all trials of a run and the chosen one.

    `expected_best` is about the first rung, where all trials had the same steps. A trial that
    diverged there, or is worse than a uniform code, counts as a uniform code.

    Args:
        space: Space of its entry.
        rate: Learning rate of the recipe.
        seed: Of the run.
        results: Results of all rungs.
        uniform_bits: Bits per token of a uniform code.
    """
    by_number: dict[int, list[TrialResult]] = {}
    for trial in sorted(results, key=lambda trial: (trial.number, trial.steps)):
        by_number.setdefault(trial.number, []).append(trial)
    settings = {number: sample_settings(space, rate, number, seed) for number in by_number}
    best = select_best(results)
    at_boundary: Literal["", "low", "high"] = ""
    if "learning_rate" in space:
        learning_rate = float(settings[best.number]["learning_rate"])
        at_boundary = boundary_side(learning_rate, space["learning_rate"])
    first_rung = [trials[0].bits for trials in by_number.values()]
    return SeedTuning(
        seed=seed,
        chosen=ChosenTrial(
            number=best.number,
            steps=best.steps,
            bits=best.bits,
            settings=settings[best.number],
        ),
        at_boundary=at_boundary,
        trials=tuple(
            TrialRecord(
                number=number,
                settings=settings[number],
                steps=tuple(trial.steps for trial in trials),
                bits=tuple(trial.bits for trial in trials),
            )
            for number, trials in by_number.items()
        ),
        expected_best=tuple(
            expected_best(
                [uniform_bits if bits is None else min(bits, uniform_bits) for bits in first_rung]
            )
        ),
    )


def expected_best(results: Sequence[float]) -> list[float]:
    """Return the expected lowest of 1, 2, ..., n results drawn with replacement from these n.

    All of k draws are at or above the i-th lowest result with probability ((n - i + 1) / n)^k.

    Source: Dodge et al. (2019), "Show Your Work", equation 7, for a quantity to be minimized.
    """
    ordered = sorted(results)
    n = len(ordered)
    return [
        sum(
            value * (((n - rank) / n) ** draws - ((n - rank - 1) / n) ** draws)
            for rank, value in enumerate(ordered)
        )
        for draws in range(1, n + 1)
    ]
