"""Which climbs make a fair comparison of cells on a task, and what they came to together."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

import msgspec
from scipy.stats import binomtest

from charlm import __version__, durable
from charlm.catalogue import flops_per_character
from charlm.checkpoint import readable
from charlm.climb import CHECKED, FARTHER, SOLVED, TESTED, Outcome, Record, decides, ended, outcomes
from charlm.compare import by_cell, common, matched, named
from charlm.config import FORMAT, OF_TEXT, UPDATES, Config, arguments, label
from charlm.match import Footing
from charlm.model import size
from charlm.pages import tasks
from charlm.report import Report
from charlm.task import TASKS
from charlm.workers import Job, Progress
from charlm.zoo import sha256


@dataclass(frozen=True)
class Planned:
    """One climb of a comparison, and where it is kept: named by what decides it."""

    config: Config
    path: Path
    parameters: int
    state_size: int
    flops_per_character: int
    task: str
    distances: Sequence[int]

    @property
    def job(self) -> Job:
        """`charlm tasks climb`; where it was begun, it goes on."""
        words = ["tasks", "climb", self.task, "--distance", ",".join(map(str, self.distances))]
        words += ["--run", str(self.path), "--log-every", "60"]
        words += arguments(self.config, without=OF_TEXT)
        name = f"{label(self.config.cell)} seed {self.config.seed}"
        return Job(name, self.path, words, self.look)

    def look(self) -> Progress:
        """How far the climb is, from its directory."""
        found = outcomes(self.path, self.distances)
        updates = self.config.updates
        whole = updates * len(self.distances)
        if ended(found, self.distances):
            return Progress("done", whole, whole)
        distance = self.distances[len(found)]
        log = self.path / f"distance-{distance}.jsonl"
        lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
        checks = [msgspec.json.decode(line) for line in lines if line.endswith(b"\n")][-1:]
        now = sum(check["update"] for check in checks)
        right = "".join(f", {check['accuracy']:.0%} right" for check in checks)
        return Progress("", updates * len(found) + now, whole, f"distance {distance}{right}")


def plan(
    settings: dict[str, Any],
    seeds: int,
    footing: Footing,
    task: str,
    distances: Sequence[int],
    place: Path,
) -> list[Planned]:
    """The climbs of a comparison: a pure function of its arguments. Distances name none of them, so
    that longer ones go on with what is done."""
    kind, symbols = TASKS[task].model, TASKS[task].symbols
    planned = []
    for config in matched({"updates": UPDATES, **settings}, seeds, footing):
        record = Record(format=FORMAT, task=task, config=config, cell_sha256=sha256(config.cell))
        path = place / "climbs" / named(config, decides(record))
        flops = flops_per_character(config, symbols, kind)
        sizes = size(config, symbols, kind)
        planned.append(Planned(config, path, *sizes, flops, task, distances))
    return planned


def at(distance: int, climbs: Sequence[Sequence[Outcome]]) -> Report:
    """What the seeds of a cell came to at a distance; None for one that did not get there.

    A seed that was stopped below has not solved it. interval: Wilson's, of 95 %, for the share of
    seeds that solve it.
    """
    found = [next((o for o in one if o.distance == distance), None) for one in climbs]
    solved = sum(o is not None and o.solved for o in found)
    interval = binomtest(solved, len(found)).proportion_ci(method="wilson")
    return {
        "distance": distance,
        "solved": solved,
        "of": len(found),
        "interval": [float(interval.low), float(interval.high)],
        "tried": sum(o is not None for o in found),
        "diverged": sum(o is not None and o.test is None for o in found),
        "updates": [o.updates if o and o.solved else None for o in found],
        "accuracy": [o.test.accuracy if o and o.test else None for o in found],
        "loss": [o.test.loss if o and o.test else None for o in found],
        "farther": {
            str(times): [o.farther.get(str(times)) if o else None for o in found]
            for times in FARTHER
        },
    }


def row(name: str, planned: Sequence[Planned], residual: float) -> Report:
    """What a cell's climbs, one a seed, have shown together under this name; residual: how far it
    misses what is equal."""
    first = planned[0]
    climbs = [outcomes(one.path, one.distances) for one in planned]
    farthest = [max((o.distance for o in one if o.solved), default=0) for one in climbs]
    return {
        "cell": name,
        "hidden": first.config.hidden,
        "layers": first.config.layers,
        "parameters": first.parameters,
        "residual": residual,
        "state_size": first.state_size,
        "flops_per_character": first.flops_per_character,
        "seeds": [one.config.seed for one in planned],
        # A distance at which one was trained, of an even number of seeds, too; 0: none was solved.
        "farthest": {"median": median_low(farthest), "per_seed": farthest},
        "distances": [at(distance, climbs) for distance in first.distances],
    }


def minutes(planned: Sequence[Planned]) -> float:
    """Of a cell's climbs on the clock, the mean of the seeds."""
    climbs = [outcomes(one.path, one.distances) for one in planned]
    return fmean(sum(o.seconds for o in one) for one in climbs) / 60


def conclude(
    planned: Sequence[Planned], footing: Footing, place: Path, words: Sequence[str]
) -> Report:
    """The report of climbs that have ended, as report.json, timing.json (what differs from time to
    time) and report.html; words: of the command."""
    first = planned[0]
    task = TASKS[first.task]
    of = by_cell(planned)
    rows = [
        row(name, climbs, footing.residual[climbs[0].config.cell]) for name, climbs in of.items()
    ]
    report = {
        "format": FORMAT,
        "kind": "task",
        "charlm": __version__,
        "task": {"name": task.name, **task.told},
        "chance": [
            {"distance": distance, **msgspec.to_builtins(task.chance(distance))}
            for distance in first.distances
        ],
        "solved_means": SOLVED,
        "sequences": {"valid": CHECKED, "test": TESTED},
        "distances": list(first.distances),
        "equal": {**footing.facts, "updates": first.config.updates, "order": "by seed"},
        "settings": common([one.config for one in planned], without=OF_TEXT),
        "rows": sorted(rows, key=merit, reverse=True),
    }
    cells = {cell: {"minutes": minutes(climbs)} for cell, climbs in of.items()}
    times = {"format": FORMAT, "command": shlex.join(words), "cells": cells}
    durable.write_file(place / "report.json", readable(report))
    durable.write_file(place / "timing.json", readable(times))
    durable.write_file(place / "report.html", tasks.render(report, times))
    return report


def merit(row: Report) -> tuple[float, int]:
    """Rows are ranked by the lower median of the farthest, then by how much was solved at all."""
    return row["farthest"]["median"], sum(one["solved"] for one in row["distances"])
