"""The trials that tune the cells of a comparison: runs like the others, but shorter."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from charlm.cell import Cell
from charlm.compare import Planned, kept
from charlm.config import label
from charlm.corpus import Text
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


def with_settings(planned: Planned, settings: dict[str, Any], text: Text, place: Path) -> Planned:
    """The same run, but for settings that leave its model's size as it is; kept in `place`."""
    config = msgspec.structs.replace(planned.config, **settings)
    return replace(planned, config=config, path=kept(config, text, place))


def settled(
    planned: Sequence[Planned], settings: dict[str, Any] | None, text: Text
) -> list[Planned]:
    """The same runs with what was chosen for them; as long as that is open, they have no name."""
    if settings is None:
        return [
            replace(one, path=one.path.with_name(f"{label(one.config.cell)}-s{one.config.seed}-…"))
            for one in planned
        ]
    return [with_settings(one, settings, text, one.path.parent) for one in planned]


def trial(planned: Planned, settings: dict[str, Any], updates: int, text: Text) -> Planned:
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


class Rungs:
    """The trials of all, rung by rung. Who goes on is known when a rung has ended: as long as that
    is open, others stand for them that take as much.

    tuned: name of a cell, or of what stands beside them -> one of its runs, as it would be with
    what is given alone; updates: of each.
    """

    def __init__(
        self, tuned: Mapping[str, Planned], search: Search, updates: int, text: Text
    ) -> None:
        self.tuned, self.search, self.updates, self.text = tuned, search, updates, text
        self.spaces = {name: of_cell(search.space, one.config.cell) for name, one in tuned.items()}
        self.going = {name: list(range(search.trials)) for name in tuned}
        self.outcomes: dict[str, list[Outcome]] = {name: [] for name in tuned}
        self.open: set[str] = set()

    def climb(self, ended: Callable[[Planned], bool]) -> Iterator[dict[tuple[str, int], Planned]]:
        """(name, number) -> its trial, of each rung; what has ended is read when the next is asked
        for."""
        for length, count in rungs(self.search.trials, self.updates).items():
            made = {
                (name, number): self.trial(name, number, length)
                for name, numbers in self.going.items()
                for number in numbers[:count]
            }
            yield made
            for name in self.tuned:
                mine = {number: one for (of, number), one in made.items() if of == name}
                if name in self.open or not all(map(ended, mine.values())):
                    self.open.add(name)
                    continue
                came = [Outcome(number, length, bits(one)) for number, one in mine.items()]
                self.outcomes[name] += came
                self.going[name] = best_first(came)

    def trial(self, name: str, number: int, updates: int) -> Planned:
        settings = drawn(self.spaces[name], number)
        return trial(self.tuned[name], settings, updates, self.text)

    def chosen(self, name: str) -> dict[str, Any] | None:
        """The settings that its trials choose; None as long as that is open."""
        if name in self.open:
            return None
        return drawn(self.spaces[name], chosen(self.outcomes[name]).number)


def foreseen(
    tuned: Mapping[str, Planned], search: Search, updates: int, text: Text
) -> tuple[list[Planned], dict[str, dict[str, Any] | None]]:
    """All trials, and name -> what they choose, None as long as that is open."""
    of = Rungs(tuned, search, updates, text)
    every = {
        one.path: one
        for made in of.climb(lambda one: bool(one.look().ended))
        for one in made.values()
    }
    return list(every.values()), {name: of.chosen(name) for name in tuned}


def tune(
    tuned: Mapping[str, Planned],
    search: Search,
    updates: int,
    text: Text,
    symbols: int,
    job: Callable[[Planned], Job],
    do: Callable[[Sequence[Job]], None],
) -> Report:
    """The trials of all, done rung by rung; what report.json says of them."""
    of = Rungs(tuned, search, updates, text)
    for made in of.climb(lambda _: True):
        jobs = {  # one of each: with few settings left to be searched, trials may be alike
            one.path: replace(job(one), name=f"{name} trial {number}")
            for (name, number), one in made.items()
        }
        do(list(jobs.values()))
    uniform = math.log2(symbols)
    cells = {name: told(of.spaces[name], of.outcomes[name], uniform) for name in sorted(tuned)}
    return {**asked(search, updates), "uniform_bits": uniform, "cells": cells}
