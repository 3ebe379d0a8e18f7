"""Runs that are there already, side by side: which may stand so, and in what they differ."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from charlm.catalogue import flops_per_character
from charlm.compare import Planned, common
from charlm.conclusion import Compared
from charlm.config import arguments, label
from charlm.errors import BadConfig
from charlm.match import TOLERANCE
from charlm.report import Report
from charlm.run import Run, is_run
from charlm.show import large

# What could be equal of runs, in words -> how much of it a run has.
AMOUNTS: dict[str, Callable[[Planned, Run], int]] = {
    "parameters": lambda one, _: one.parameters,
    "FLOPs per character": lambda one, _: one.flops_per_character,
    "floats of state": lambda one, _: one.state_size,
    "updates": lambda _, run: run.record.updates,
    "characters read": lambda one, run: run.record.updates * one.config.batch * one.config.time,
}


def opened(places: Sequence[str]) -> list[Run]:
    """The runs of these directories; a comparison stands for all of its runs."""
    runs = []
    for place in map(Path, places):
        of = [place] if is_run(place) else sorted(filter(is_run, (place / "runs").glob("*")))
        if not of:
            raise BadConfig(f"{place} has no run: name a directory that charlm train has made")
        runs += [Run(path) for path in of]
    return runs


def refuse_incomparable(runs: Sequence[Run]) -> None:
    """Runs that did not come to an end, or whose scores are of different things."""
    for run in runs:
        if not (run.report or run.diverged):
            raise BadConfig(
                f"{run.path} is not finished: go on with charlm train --run {run.path} --resume"
            )
        if run.report and not run.report["score"]:
            raise BadConfig(f"{run.path} has no score: it was trained with --final none")
    scored = [run for run in runs if run.report] or runs
    for other in runs:
        for what, one, another in _told_apart(scored[0], other):
            raise BadConfig(
                f"{other.path} does not compare with {scored[0].path}: {what} is {another}, and "
                f"not {one}"
            )


def _told_apart(one: Run, other: Run) -> Iterator[tuple[str, Any, Any]]:
    """In what the scores of two runs are of different things: what it is, of the one, the other."""
    for (what, first), (_, second) in zip(_scored(one), _scored(other), strict=True):
        if first != second and None not in (first, second):
            yield what, first, second


def _scored(run: Run) -> Iterator[tuple[str, Any]]:
    """What was scored, and how; None where a run that diverged has no score."""
    text, report = run.record.text, run.report or {}
    score = report.get("score") or {}
    yield "the corpus", f"that of SHA-256 {text.digest.sha256[:16]}…"
    yield "a symbol", f"one of the {run.record.config.alphabet}"
    for name, (start, end) in text.splits.items():
        yield f"its {name} split", f"{start:,} to {end:,}"
    yield "what was scored", report.get("split")
    yield "the protocol", score.get("protocol")
    yield "the SHA-256 of the scored text", score.get("text_sha256")


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """name -> runs that differ only in their seed, by seed: all names have the same seeds.

    What has a cell for itself is called like it; else like the directory of its first run.
    """
    alike: dict[Any, list[Run]] = {}
    for run in runs:
        config = msgspec.structs.replace(run.record.config, seed=0)
        key = *arguments(config, free=False), run.record.cell_sha256
        alike.setdefault(key, []).append(run)
    groups = [sorted(of, key=lambda run: run.record.config.seed) for of in alike.values()]
    named: dict[str, list[Run]] = {}
    for of, name in zip(groups, _names([of[0] for of in groups]), strict=True):
        for one, other in pairwise(of):
            if one.record.config.seed == other.record.config.seed:
                raise BadConfig(f"{one.path} and {other.path} are alike, seed too: name one")
        named[name] = of
    first, *others = named
    for name in others:
        if seeds(named[name]) != seeds(named[first]):
            raise BadConfig(
                f"{first} has runs of seed {seeds(named[first])}, and {name} of "
                f"{seeds(named[name])}: seeds are compared in pairs, so name runs of the same seeds"
            )
    return named


def seeds(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.record.config.seed}" for run in runs)


def _names(runs: Sequence[Run]) -> list[str]:
    """What each of these is called: the first of three that it alone is called."""
    ways: Sequence[Callable[[Run], str]] = (
        lambda run: label(run.record.config.cell),
        lambda run: run.path.resolve().name,
        lambda run: str(run.path),
    )
    told = [[way(run) for run in runs] for way in ways]
    found = [
        next((names[place] for names in told if names.count(names[place]) == 1), told[-1][place])
        for place in range(len(runs))
    ]
    return found if len(set(found)) == len(found) else told[-1]


def compared(named: Mapping[str, Sequence[Run]]) -> Compared:
    """What they are compared as: what is alike among them, and what is not."""
    runs = {name: [_as_planned(run) for run in of] for name, of in named.items()}
    both = [(one, run) for name in named for one, run in zip(runs[name], named[name], strict=True)]
    amounts = {what: [amount(*of) for of in both] for what, amount in AMOUNTS.items()}
    updates = set(amounts["updates"])
    equal = {
        "measure": None,
        "told": _told(amounts),
        "updates": updates.pop() if len(updates) == 1 else None,
    }
    base = both[0][0].parameters
    off = {name: of[0].parameters / base - 1 for name, of in runs.items()}
    return Compared(runs, equal, off, _differ(runs))


def _as_planned(run: Run) -> Planned:
    record = run.record
    flops = flops_per_character(record.config, run.alphabet.size)
    return Planned(record.config, run.path, record.parameters, record.state_size, flops)


def _told(amounts: Mapping[str, Sequence[int]]) -> str:
    alike, other = [], []
    for what, of in amounts.items():
        low, high = min(of), max(of)
        if high - low <= TOLERANCE * low:
            alike.append(what)
        else:
            other.append(f"{what} ({large(low)} to {large(high)})")
    said = "These runs were there before, and nothing was made equal"
    said += f"; alike within {100 * TOLERANCE:g} %: {', '.join(alike)}" if alike else ""
    return said + (f"; not alike: {', '.join(other)}" if other else "")


def _differ(runs: Mapping[str, Sequence[Planned]]) -> Report:
    """setting -> name -> what it is there, of those that not all have alike."""
    configs = {name: of[0].config for name, of in runs.items()}
    same = common(list(configs.values()))
    told = {name: msgspec.to_builtins(config) for name, config in configs.items()}
    first, *_ = told.values()
    own = {"cell", "hidden", "seed", *same}
    return {
        setting: {name: of[setting] for name, of in told.items()}
        for setting in first
        if setting not in own
    }
