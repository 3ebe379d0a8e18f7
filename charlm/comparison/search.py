"""With which settings cells are tried, and which of them they then have: only arithmetic.

Random search with successive halving (Jamieson & Talwalkar 2016), the same for every cell, but that
learning rates are spread evenly, and the first trial has what a cell has anyway. All trials get few
updates, the best third of them three times as many, and the best third of those as many as a run.

Few updates favour high learning rates, so the last word is that of whole ones. On tiny Shakespeare,
200,000 parameters, 3,000 updates, the rate that was best after a third of the updates, 0.022 for
nearly every cell, left a GRU at 2.19 bits of validation, where 0.01 came to 2.08.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from charlm.config import Config, option_name
from charlm.errors import ConfigError
from charlm.seeding import derive_seed

DEFAULT_TRIALS = 6  # of each cell, if the person says neither how many nor a learning rate
TUNING_SEED = 1000  # of every trial: those of a comparison's runs are below
RUNG_FRACTIONS = 9, 3, 1  # one in so many of a run's updates
MIN_SURVIVORS = 2  # trials that go on: one of them is chosen
GOLDEN = (math.sqrt(5) - 1) / 2
BOUNDARY_FRACTION = 0.1  # of the range of learning rates, on a logarithmic scale: at either end
SearchSpace = dict[
    str, Sequence[Any]
]  # setting -> what it may be; learning_rate: from the first to last
SPACE: SearchSpace = {
    "learning_rate": (3e-4, 3e-2),
    "dropout": (0.0, 0.1, 0.2, 0.3),
    "forget_bias": ("0", "default", "chrono"),
    "grad_clip": (0.25, 1.0, 5.0),
}


class SearchSettings(NamedTuple):
    """So many trials of each cell, and in which space."""

    trials: int
    space: SearchSpace


class TrialResult(NamedTuple):
    """What a trial came to at a rung; bits are None where it diverged."""

    number: int
    steps: int
    bits: float | None


def make_search(trials: int, given: Mapping[str, Any], rates: str) -> SearchSettings:
    """Of all that the person has not given. rates: 3e-4..3e-2, or "" for the usual ones."""
    if trials < MIN_SURVIVORS:
        raise ConfigError(f"--trials {trials}: to choose is among {MIN_SURVIVORS} or more")
    if rates and "learning_rate" in given:
        raise ConfigError("--lr-range searches what --lr gives: leave one of them out")
    space = {name: choices for name, choices in SPACE.items() if name not in given}
    if (
        "forget_bias" in space and given.get("seq_len", Config().seq_len) < 3
    ):  # too short for chrono
        space["forget_bias"] = tuple(one for one in space["forget_bias"] if one != "chrono")
    if not space:
        told = ", ".join(option_name(name) for name in SPACE)
        raise ConfigError(f"--trials: there is nothing left to search: leave one of {told} out")
    return SearchSettings(
        trials, {**space, "learning_rate": parse_lr_range(rates)} if rates else space
    )


def parse_lr_range(rates: str) -> tuple[float, float]:
    """'3e-4..3e-2' -> both."""
    low, _, high = rates.partition("..")
    try:
        found = float(low), float(high)
    except ValueError:
        found = 0.0, 0.0
    if not 0 < found[0] < found[1] <= 1000:
        raise ConfigError(f"--lr-range {rates}: two learning rates, the lower first: 3e-4..3e-2")
    return found


def sample_settings(space: SearchSpace, number: int) -> dict[str, Any]:
    """The settings of the trial with this number. The first has what a cell has untuned, or what is
    nearest to it in the space, so that few trials do no harm. Of others each is drawn by (its name,
    number) alone, so that all cells are tried with the same, however many trials there are and
    whatever else is searched.

    Learning rates begin at random and go on by the golden section: each falls into the widest gap
    that those before have left. Six drawn at random all were below 0.006 of 0.0003 to 0.03.
    """
    if not number:
        usual = {name: getattr(Config(), name) for name in space}
        if "learning_rate" in space:
            low, high = space["learning_rate"]
            usual["learning_rate"] = min(max(low, usual["learning_rate"]), high)
        return usual
    settings = {}
    for name, choices in space.items():
        if name == "learning_rate":
            low, high = choices
            share = (_uniform(name, 0) + number * GOLDEN) % 1
            settings[name] = float(f"{low * (high / low) ** share:.3g}")
        else:
            settings[name] = choices[int(_uniform(name, number) * len(choices))]
    return settings


def _uniform(name: str, number: int) -> float:
    """Drawn evenly, from 0 to below 1."""
    return (derive_seed(TUNING_SEED, f"trial {name}", number) >> 10) / 2**53


def rung_schedule(trials: int, updates: int) -> dict[int, int]:
    """Updates -> how many of the trials have so many, where a whole run has `updates`.

    A rung that none would leave decides nothing, and is not climbed.
    """
    counts = [trials]
    while len(counts) < len(RUNG_FRACTIONS):
        counts.append(min(counts[-1], max(MIN_SURVIVORS, math.ceil(counts[-1] / 3))))
    found: dict[int, int] = {}
    for share, count, after in zip(RUNG_FRACTIONS, counts, [*counts[1:], 0], strict=True):
        if after < count:
            found.setdefault(max(1, updates // share), count)
    return found


def describe_search(search: SearchSettings, updates: int) -> dict[str, Any]:
    """For the plan and report.json; cost: of each cell's trials, in whole runs."""
    counts = rung_schedule(search.trials, updates)
    return {
        "trials": search.trials,
        "seed": TUNING_SEED,
        "space": search.space,
        "rungs": [{"max_steps": length, "trials": count} for length, count in counts.items()],
        "cost": sum(length * count for length, count in counts.items()) / updates,
    }


def rank_trials(rung: Sequence[TrialResult]) -> list[int]:
    """The numbers of a rung's trials, of equals the lower first; those that diverged are out."""
    sound = sorted((one.bits, one.number) for one in rung if one.bits is not None)
    return [number for _, number in sound]


def select_best(outcomes: Sequence[TrialResult]) -> TrialResult:
    """The best of the longest rung; one that diverged anywhere only if all did."""
    lost = {one.number for one in outcomes if one.bits is None}

    def order(one: TrialResult) -> tuple[bool, int, float, int]:
        bits = math.inf if one.bits is None else one.bits
        return one.number in lost, -one.steps, bits, one.number

    return min(outcomes, key=order)


def boundary_side(rates: Mapping[int, float], taken: TrialResult, space: Sequence[float]) -> str:
    """The end of the space, low or high, near which the chosen learning rate is: beyond it may be a
    better one; else "".

    rates: number of a trial -> its learning rate.
    """
    low, high = space
    place = math.log(rates[taken.number] / low) / math.log(high / low)
    return "low" if place < BOUNDARY_FRACTION else "high" if place > 1 - BOUNDARY_FRACTION else ""


def summarize_tuning(
    space: SearchSpace, outcomes: Sequence[TrialResult], uniform: float
) -> dict[str, Any]:
    """Of a cell, for report.json: every trial, and which was chosen.

    expected_best: of 1, 2, … trials of the first rung, where all were tried alike. One that
    diverged there, or costs more than a uniform code, costs what that does: `uniform` bits.
    """
    climbed: dict[int, list[TrialResult]] = {}
    for one in sorted(outcomes):
        climbed.setdefault(one.number, []).append(one)
    settings = {number: sample_settings(space, number) for number in climbed}
    taken = select_best(outcomes)
    at = ""
    if "learning_rate" in space:
        rates = {number: one["learning_rate"] for number, one in settings.items()}
        at = boundary_side(rates, taken, space["learning_rate"])
    first = [those[0].bits for those in climbed.values()]
    return {
        "chosen": {**taken._asdict(), "settings": settings[taken.number]},
        "edge": at,
        "trials": [
            {
                "number": number,
                "settings": settings[number],
                "max_steps": [one.steps for one in those],
                "bits": [one.bits for one in those],
            }
            for number, those in climbed.items()
        ],
        "expected_best": expected_best(
            [uniform if bits is None else min(bits, uniform) for bits in first]
        ),
    }


def expected_best(results: Sequence[float]) -> list[float]:
    """Validation bits of n random trials -> the lowest of 1, 2, ... n that one may expect.

    Dodge et al. (2019), Show your work, equation 7, for what is to be low: k trials drawn from the
    n, with replacement, are all at the i-th lowest or above with chance ((n - i + 1) / n)^k.
    """
    ordered = sorted(results)
    n = len(ordered)
    return [
        sum(
            value * (((n - place) / n) ** trials - ((n - place - 1) / n) ** trials)
            for place, value in enumerate(ordered)
        )
        for trials in range(1, n + 1)
    ]
