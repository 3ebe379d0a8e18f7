"""Hyperparameter search: random search with successive halving (Jamieson & Talwalkar 2016).

Pure arithmetic: which settings a trial gets, which trials go on, which one is chosen. Every entry
of a comparison gets the same search. All trials are trained for a ninth of the steps, the best
third of them for a third, the best third of those for all. Two things differ from plain random
search: learning rates are spread evenly, and the first trial has the default settings.

Short trials favor high learning rates, so the last rung has as many steps as a run. On tiny
Shakespeare (200,000 parameters, 3,000 steps), the best rate after a third of the steps was 0.022
for nearly every cell. It left a GRU at 2.19 validation bits, where 0.01 reached 2.08.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from charlm.config import MIN_CHRONO_LENGTH, Config, option_name
from charlm.errors import ConfigError
from charlm.results.tuning import (
    CellTuning,
    ChosenTrial,
    Rung,
    SearchPlan,
    Setting,
    Settings,
    TrialRecord,
)
from charlm.seeding import derive_seed

DEFAULT_TRIALS = 6  # per entry
TUNING_SEED = 1000  # of every trial; the seeds of a comparison's runs are lower
RUNG_FRACTIONS = 9, 3, 1  # a rung has the steps of a run, divided by this
MIN_SURVIVORS = 2  # trials that go on: one of them is chosen
GOLDEN = (math.sqrt(5) - 1) / 2
BOUNDARY_FRACTION = 0.1  # of the logarithmic range of learning rates, at either end
MAX_LEARNING_RATE = 1000.0

SearchSpace = Mapping[str, Sequence[Setting]]  # learning_rate: both bounds; else the choices
SPACE: SearchSpace = {
    "learning_rate": (3e-4, 3e-2),
    "dropout": (0.0, 0.1, 0.2, 0.3),
    "forget_bias": ("0", "default", "chrono"),
    "grad_clip": (0.25, 1.0, 5.0),
}


class SearchSettings(NamedTuple):
    """Number of trials per entry, and the space that they are drawn from."""

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
        trials: Trials per entry.
        settings: Settings that the user fixed; they are not searched.
        lr_range: Such as "3e-4..3e-2"; empty for the default range.

    Raises:
        ConfigError: Nothing is left to search, or the arguments contradict each other.
    """
    if trials < MIN_SURVIVORS:
        raise ConfigError(
            f"cannot choose among --trials {trials}: there must be {MIN_SURVIVORS} or more. "
            "Try --trials 0 to disable tuning"
        )
    if lr_range and "learning_rate" in settings:
        raise ConfigError(
            "cannot search --lr-range: --learning-rate fixes it. Try to leave one of them out"
        )
    space = {name: choices for name, choices in SPACE.items() if name not in settings}
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
    """Return both bounds of a range such as "3e-4..3e-2"."""
    first, _, last = text.partition("..")
    try:
        low, high = float(first), float(last)
    except ValueError:
        low = high = 0.0
    if not 0 < low < high <= MAX_LEARNING_RATE:
        raise ConfigError(
            f"cannot use --lr-range {text}: it must be two learning rates, the lower first. "
            "Try 3e-4..3e-2"
        )
    return low, high


def sample_settings(space: SearchSpace, number: int) -> Settings:
    """Return the settings of the trial with this number.

    Trial 0 has the default settings, or the nearest in the space, so that few trials do no harm.
    Every other setting depends on (its name, number) alone. So all cells get the same trials,
    whatever the number of trials and whatever else is searched.

    Learning rates follow the golden section from a random start: each falls into the widest gap
    that is left. Of six drawn at random from 0.0003 to 0.03, all were below 0.006.
    """
    if number == 0:
        return _default_settings(space)
    settings: Settings = {}
    for name, choices in space.items():
        if name == "learning_rate":
            low, high = map(float, choices)
            position = (_uniform(name, 0) + number * GOLDEN) % 1
            settings[name] = float(f"{low * (high / low) ** position:.3g}")
        else:
            settings[name] = choices[int(_uniform(name, number) * len(choices))]
    return settings


def _default_settings(space: SearchSpace) -> Settings:
    defaults: Settings = {name: getattr(Config(), name) for name in space}
    if "learning_rate" in space:
        low, high = map(float, space["learning_rate"])
        defaults["learning_rate"] = min(max(low, float(defaults["learning_rate"])), high)
    return defaults


def _uniform(name: str, number: int) -> float:
    """Return a number in [0, 1) that depends on these arguments alone."""
    return (derive_seed(TUNING_SEED, f"trial {name}", number) >> 10) / 2**53


def rung_schedule(trials: int, max_steps: int) -> dict[int, int]:
    """Return the number of trials by the number of steps, shortest rung first.

    Rungs that would eliminate no trial are skipped.

    Args:
        trials: Trials of the first rung.
        max_steps: Optimizer steps of a run, and of the last rung.
    """
    counts = [trials]
    while len(counts) < len(RUNG_FRACTIONS):
        counts.append(min(counts[-1], max(MIN_SURVIVORS, math.ceil(counts[-1] / 3))))
    schedule: dict[int, int] = {}
    for fraction, count, survivors in zip(RUNG_FRACTIONS, counts, [*counts[1:], 0], strict=True):
        if survivors < count:
            schedule.setdefault(max(1, max_steps // fraction), count)
    return schedule


def plan_search(search: SearchSettings, max_steps: int) -> SearchPlan:
    """Return the search as reports show it, for runs of `max_steps`."""
    schedule = rung_schedule(search.trials, max_steps)
    return SearchPlan(
        trials=search.trials,
        seed=TUNING_SEED,
        space={name: tuple(choices) for name, choices in search.space.items()},
        rungs=tuple(Rung(steps, trials) for steps, trials in schedule.items()),
        cost_in_runs=sum(steps * trials for steps, trials in schedule.items()) / max_steps,
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
    space: SearchSpace, results: Sequence[TrialResult], uniform_bits: float
) -> CellTuning:
    """Return all trials of an entry and the chosen one.

    `expected_best` is about the first rung, where all trials had the same steps. A trial that
    diverged there, or is worse than a uniform code, counts as a uniform code.

    Args:
        space: Space of this entry.
        results: Results of all rungs.
        uniform_bits: Bits per token of a uniform code.
    """
    by_number: dict[int, list[TrialResult]] = {}
    for trial in sorted(results, key=lambda trial: (trial.number, trial.steps)):
        by_number.setdefault(trial.number, []).append(trial)
    settings = {number: sample_settings(space, number) for number in by_number}
    best = select_best(results)
    at_boundary: Literal["", "low", "high"] = ""
    if "learning_rate" in space:
        learning_rate = float(settings[best.number]["learning_rate"])
        at_boundary = boundary_side(learning_rate, space["learning_rate"])
    first_rung = [trials[0].bits for trials in by_number.values()]
    return CellTuning(
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
