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


def settled(planned: Sequence[Planned], tuning: Report, text: Digest) -> list[Planned]:
    """The same runs with what was chosen for their cells."""
    cells = tuning["cells"]
    return [
        with_settings(one, cells[one.config.cell]["chosen"]["settings"], text, one.path.parent)
        for one in planned
    ]


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
    cells: Mapping[str, Planned],
    spaces: Mapping[str, Space],
    going: Mapping[str, Sequence[int]],
    length: int,
    count: int,
    text: Digest,
) -> dict[tuple[str, int], Planned]:
    """(cell, number) -> its trial of `length` updates; so many of those of a cell that go on."""
    return {
        (cell, number): trial(cells[cell], drawn(spaces[cell], number), length, text)
        for cell, numbers in going.items()
        for number in numbers[:count]
    }


def came(made: Mapping[tuple[str, int], Planned], cell: str, length: int) -> list[Outcome]:
    """What the cell's trials of a rung that has ended have come to."""
    return [Outcome(n, length, bits(one)) for (of, n), one in made.items() if of == cell]


def foreseen(
    planned: Sequence[Planned], search: Search, updates: int, text: Digest
) -> tuple[list[Planned], list[Planned]]:
    """All trials, and the runs with what they choose.

    As long as it is open which trials go on, others stand for them that take as much; and runs
    whose settings are open have no name yet.
    """
    cells = {one.config.cell: one for one in planned}
    spaces = {cell: of_cell(search.space, cell) for cell in cells}
    going = {cell: list(range(search.trials)) for cell in cells}
    outcomes: dict[str, list[Outcome]] = {cell: [] for cell in cells}
    found: dict[Path, Planned] = {}
    open_: set[str] = set()
    for length, count in rungs(search.trials, updates).items():
        made = rung(cells, spaces, going, length, count, text)
        found |= {one.path: one for one in made.values()}
        open_ |= {cell for (cell, _), one in made.items() if not one.look().ended}
        for cell in cells.keys() - open_:
            ended = came(made, cell, length)
            outcomes[cell] += ended
            going[cell] = best_first(ended)
    runs = []
    for one in planned:
        cell = one.config.cell
        if cell in open_:
            unnamed = one.path.with_name(f"{label(cell)}-s{one.config.seed}-…")
            runs.append(replace(one, path=unnamed))
        else:
            settings = drawn(spaces[cell], chosen(outcomes[cell]).number)
            runs.append(with_settings(one, settings, text, one.path.parent))
    return list(found.values()), runs


def tune(
    planned: Sequence[Planned],
    search: Search,
    updates: int,
    text: Digest,
    symbols: int,
    job: Callable[[Planned], Job],
    do: Callable[[Sequence[Job]], None],
) -> Report:
    """Every cell's trials, done rung by rung; what report.json says of them.

    planned: the comparison's runs, as they would be with what is given alone; updates: of each.
    """
    cells = {one.config.cell: one for one in planned}
    spaces = {cell: of_cell(search.space, cell) for cell in cells}
    going = {cell: list(range(search.trials)) for cell in cells}
    outcomes: dict[str, list[Outcome]] = {cell: [] for cell in cells}
    for length, count in rungs(search.trials, updates).items():
        made = rung(cells, spaces, going, length, count, text)
        jobs = {  # one of each: with few settings left to be searched, trials may be alike
            one.path: replace(job(one), name=f"{label(cell)} trial {number}")
            for (cell, number), one in made.items()
        }
        do(list(jobs.values()))
        for cell in cells:
            ended = came(made, cell, length)
            outcomes[cell] += ended
            going[cell] = best_first(ended)
    uniform = math.log2(symbols)
    return {
        **asked(search, updates),
        "uniform_bits": uniform,
        "cells": {cell: told(spaces[cell], outcomes[cell], uniform) for cell in cells},
    }
