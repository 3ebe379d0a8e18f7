"""The trials that tune the cells of a comparison: runs like the others, but shorter."""

import math
from collections.abc import Callable, Sequence
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
from charlm.tuning import SEED, Outcome, Search, Space, asked, best_first, drawn, rungs, told
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
        made = {
            (cell, number): trial(cells[cell], drawn(spaces[cell], number), length, text)
            for cell, numbers in going.items()
            for number in numbers[:count]
        }
        jobs = {  # one of each: with few settings left to be searched, trials may be alike
            one.path: replace(job(one), name=f"{label(cell)} trial {number}")
            for (cell, number), one in made.items()
        }
        do(list(jobs.values()))
        for cell in cells:
            rung = [Outcome(n, length, bits(one)) for (of, n), one in made.items() if of == cell]
            outcomes[cell] += rung
            going[cell] = best_first(rung)
    uniform = math.log2(symbols)
    return {
        **asked(search, updates),
        "uniform_bits": uniform,
        "cells": {cell: told(spaces[cell], outcomes[cell], uniform) for cell in cells},
    }
