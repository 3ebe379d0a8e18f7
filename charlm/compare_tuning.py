"""The trials that tune the cells of a comparison: runs like the others, but shorter."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from charlm.cell import Cell
from charlm.compare import Planned, kept
from charlm.config import label
from charlm.encoder import Digest
from charlm.report import Report
from charlm.run import Run
from charlm.tuning import (
    SEED,
    Outcome,
    Search,
    Space,
    asked,
    best_first,
    chosen,
    drawn,
    rungs,
    told,
)
from charlm.workers import Job
from charlm.zoo import find

LOOKS = 4  # validations of a trial: it is short, and each takes as long as many updates


def with_settings(planned: Planned, settings: dict[str, Any], text: Digest, place: Path) -> Planned:
    """The same run, but for settings that leave its model's size as it is; kept in `place`."""
    config = msgspec.structs.replace(planned.config, **settings)
    return replace(planned, config=config, path=kept(config, text, place))


def settled(
    planned: Sequence[Planned], settings: dict[str, Any] | None, text: Digest
) -> list[Planned]:
    """The same runs with what was chosen for them; as long as that is open, they have no name."""
    if settings is None:
        return [
            replace(one, path=one.path.with_name(f"{label(one.config.cell)}-s{one.config.seed}-…"))
            for one in planned
        ]
    return [with_settings(one, settings, text, one.path.parent) for one in planned]


def trial(planned: Planned, settings: dict[str, Any], updates: int, text: Digest) -> Planned:
    """A run of so many updates with these settings, kept beside a comparison's own.

    It begins anew, also of a trial that goes on: the learning rate falls to the end of each run,
    and a run cannot go on from where it has fallen to. The test split is left alone.
    """
    looks = planned.config.valid_every or max(1, updates // LOOKS)
    short = {"seed": SEED, "updates": updates, "epochs": 0.0, "valid_every": looks, "final": "none"}
    return with_settings(planned, {**settings, **short}, text, planned.path.parents[1] / "trials")


def bits(planned: Planned) -> float | None:
    """The lowest quick look of a trial that has ended; None if it diverged."""
    report = Run(planned.path).report
    return report["best_valid_bits"] if report else None


def of_cell(space: Space, cell: str) -> Space:
    """What is searched for this cell: one without a gate that keeps has no bias of it."""
    keeps = find(cell).keep is not Cell.keep
    return {name: choices for name, choices in space.items() if keeps or name != "keep_bias"}


def rung(
    tuned: Mapping[str, Planned],
    spaces: Mapping[str, Space],
    going: Mapping[str, Sequence[int]],
    length: int,
    count: int,
    text: Digest,
) -> dict[tuple[str, int], Planned]:
    """(name, number) -> its trial of `length` updates; so many of those of a cell that go on."""
    return {
        (name, number): trial(tuned[name], drawn(spaces[name], number), length, text)
        for name, numbers in going.items()
        for number in numbers[:count]
    }


def came(made: Mapping[tuple[str, int], Planned], name: str, length: int) -> list[Outcome]:
    """What a cell's trials of a rung that has ended have come to."""
    return [Outcome(n, length, bits(one)) for (of, n), one in made.items() if of == name]


def foreseen(
    tuned: Mapping[str, Planned], search: Search, updates: int, text: Digest
) -> tuple[list[Planned], dict[str, dict[str, Any] | None]]:
    """All trials, and name -> what they choose, None as long as that is open.

    As long as it is open which trials go on, others stand for them that take as much.
    """
    spaces = {name: of_cell(search.space, one.config.cell) for name, one in tuned.items()}
    going = {name: list(range(search.trials)) for name in tuned}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in tuned}
    found: dict[Path, Planned] = {}
    open_: set[str] = set()
    for length, count in rungs(search.trials, updates).items():
        made = rung(tuned, spaces, going, length, count, text)
        found |= {one.path: one for one in made.values()}
        open_ |= {name for (name, _), one in made.items() if not one.look().ended}
        for name in tuned.keys() - open_:
            ended = came(made, name, length)
            outcomes[name] += ended
            going[name] = best_first(ended)
    settings = {
        name: None if name in open_ else drawn(spaces[name], chosen(outcomes[name]).number)
        for name in tuned
    }
    return list(found.values()), settings


def tune(
    tuned: Mapping[str, Planned],
    search: Search,
    updates: int,
    text: Digest,
    symbols: int,
    job: Callable[[Planned], Job],
    do: Callable[[Sequence[Job]], None],
) -> Report:
    """The trials of all, done rung by rung; what report.json says of them.

    tuned: name of a cell, or of what stands beside them -> one of its runs, as it would be with
    what is given alone; updates: of each.
    """
    spaces = {name: of_cell(search.space, one.config.cell) for name, one in tuned.items()}
    going = {name: list(range(search.trials)) for name in tuned}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in tuned}
    for length, count in rungs(search.trials, updates).items():
        made = rung(tuned, spaces, going, length, count, text)
        jobs = {  # one of each: with few settings left to be searched, trials may be alike
            one.path: replace(job(one), name=f"{name} trial {number}")
            for (name, number), one in made.items()
        }
        do(list(jobs.values()))
        for name in tuned:
            ended = came(made, name, length)
            outcomes[name] += ended
            going[name] = best_first(ended)
    uniform = math.log2(symbols)
    return {
        **asked(search, updates),
        "uniform_bits": uniform,
        "cells": {name: told(spaces[name], outcomes[name], uniform) for name in sorted(tuned)},
    }
