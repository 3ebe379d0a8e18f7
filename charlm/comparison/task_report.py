"""Which climbs make a fair comparison of cells on a task, and what they came to together."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

import msgspec
from scipy.stats import binomtest

from charlm import __version__
from charlm.cells.loader import loaded_cell_sha256
from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import BudgetMatch
from charlm.comparison.plan import directory_name, group_by_cell, matched_configs, shared_settings
from charlm.config import DEFAULT_MAX_STEPS, FORMAT_VERSION, TEXT_ONLY_FIELDS, Config, to_argv
from charlm.execution.jobs import Job, JobProgress
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.reporting.html import tasks
from charlm.results.comparison import Report
from charlm.results.tasks import CurriculumRecord, LevelResult
from charlm.storage import files
from charlm.storage.json_files import encode_json
from charlm.tasks.base import TASKS
from charlm.tasks.curriculum import (
    EXTRAPOLATION_FACTORS,
    SOLVED_CRITERION,
    TEST_SEQUENCES,
    VALIDATION_SEQUENCES,
    fingerprint_fields,
    is_finished,
    load_level_results,
)


@dataclass(frozen=True)
class PlannedCurriculum:
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
        words += to_argv(self.config, exclude=TEXT_ONLY_FIELDS)
        name = f"{cell_label(self.config.cell)} seed {self.config.seed}"
        return Job(name, self.path, words, self.progress)

    def progress(self) -> JobProgress:
        """How far the climb is, from its directory."""
        found = load_level_results(self.path, self.distances)
        updates = self.config.max_steps
        whole = updates * len(self.distances)
        if is_finished(found, self.distances):
            return JobProgress("done", whole, whole)
        distance = self.distances[len(found)]
        log = self.path / f"distance-{distance}.jsonl"
        lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
        checks = [msgspec.json.decode(line) for line in lines if line.endswith(b"\n")][-1:]
        now = sum(check["step"] for check in checks)
        right = "".join(f", {check['accuracy']:.0%} right" for check in checks)
        return JobProgress("", updates * len(found) + now, whole, f"distance {distance}{right}")


def plan_curricula(
    settings: dict[str, Any],
    seeds: int,
    footing: BudgetMatch,
    task: str,
    distances: Sequence[int],
    place: Path,
) -> list[PlannedCurriculum]:
    """The climbs of a comparison: a pure function of its arguments. Distances name none of them, so
    that longer ones go on with what is done."""
    kind, symbols = TASKS[task].model, TASKS[task].symbols
    planned = []
    for config in matched_configs({"max_steps": DEFAULT_MAX_STEPS, **settings}, seeds, footing):
        record = CurriculumRecord(
            format=FORMAT_VERSION,
            task=task,
            config=config,
            cell_sha256=loaded_cell_sha256(config.cell),
        )
        path = place / "climbs" / directory_name(config, fingerprint_fields(record))
        flops = flops_per_character(config, symbols, kind)
        sizes = count_parameters_and_state(config, symbols, kind)
        planned.append(PlannedCurriculum(config, path, *sizes, flops, task, distances))
    return planned


def summarize_level(distance: int, climbs: Sequence[Sequence[LevelResult]]) -> Report:
    """What the seeds of a cell came to at a distance; None for one that did not get there.

    A seed that was stopped below has not solved it. interval: Wilson's, of 95 %, for the share of
    seeds that solve it.
    """
    found = [next((o for o in one if o.length == distance), None) for one in climbs]
    solved = sum(o is not None and o.solved for o in found)
    interval = binomtest(solved, len(found)).proportion_ci(method="wilson")
    return {
        "distance": distance,
        "solved": solved,
        "of": len(found),
        "interval": [float(interval.low), float(interval.high)],
        "tried": sum(o is not None for o in found),
        "diverged": sum(o is not None and o.test is None for o in found),
        "max_steps": [o.steps if o and o.solved else None for o in found],
        "accuracy": [o.test.accuracy if o and o.test else None for o in found],
        "loss": [o.test.loss if o and o.test else None for o in found],
        "farther": {
            str(times): [o.extrapolation.get(str(times)) if o else None for o in found]
            for times in EXTRAPOLATION_FACTORS
        },
    }


def summarize_cell(name: str, planned: Sequence[PlannedCurriculum], residual: float) -> Report:
    """What a cell's climbs, one a seed, have shown together under this name; residual: how far it
    misses what is equal."""
    first = planned[0]
    climbs = [load_level_results(one.path, one.distances) for one in planned]
    farthest = [max((o.length for o in one if o.solved), default=0) for one in climbs]
    return {
        "cell": name,
        "hidden_size": first.config.hidden_size,
        "num_layers": first.config.num_layers,
        "parameters": first.parameters,
        "residual": residual,
        "state_size": first.state_size,
        "flops_per_character": first.flops_per_character,
        "seeds": [one.config.seed for one in planned],
        # A distance at which one was trained, of an even number of seeds, too; 0: none was solved.
        "farthest": {"median": median_low(farthest), "per_seed": farthest},
        "distances": [summarize_level(distance, climbs) for distance in first.distances],
    }


def mean_minutes(planned: Sequence[PlannedCurriculum]) -> float:
    """Of a cell's climbs on the clock, the mean of the seeds."""
    climbs = [load_level_results(one.path, one.distances) for one in planned]
    return fmean(sum(o.seconds for o in one) for one in climbs) / 60


def build_report(
    planned: Sequence[PlannedCurriculum], footing: BudgetMatch, place: Path, words: Sequence[str]
) -> Report:
    """The report of climbs that have ended, as report.json, timing.json (what differs from time to
    time) and report.html; words: of the command."""
    first = planned[0]
    task = TASKS[first.task]
    of = group_by_cell(planned)
    rows = [
        summarize_cell(name, climbs, footing.relative_errors[climbs[0].config.cell])
        for name, climbs in of.items()
    ]
    report = {
        "format": FORMAT_VERSION,
        "kind": "task",
        "charlm": __version__,
        "task": {"name": task.name, **task.documentation},
        "chance": [
            {"distance": distance, **msgspec.to_builtins(task.chance_score(distance))}
            for distance in first.distances
        ],
        "solved_means": SOLVED_CRITERION,
        "sequences": {"valid": VALIDATION_SEQUENCES, "test": TEST_SEQUENCES},
        "distances": list(first.distances),
        "equal": {**footing.facts, "max_steps": first.config.max_steps, "order": "by seed"},
        "settings": shared_settings([one.config for one in planned], without=TEXT_ONLY_FIELDS),
        "rows": sorted(rows, key=ranking_key, reverse=True),
    }
    cells = {cell: {"minutes": mean_minutes(climbs)} for cell, climbs in of.items()}
    times = {"format": FORMAT_VERSION, "command": shlex.join(words), "cells": cells}
    files.write_atomic(place / "report.json", encode_json(report))
    files.write_atomic(place / "timing.json", encode_json(times))
    files.write_atomic(place / "report.html", tasks.render(report, times))
    return report


def ranking_key(row: Report) -> tuple[float, int]:
    """Rows are ranked by the lower median of the farthest, then by how much was solved at all."""
    return row["farthest"]["median"], sum(one["solved"] for one in row["distances"])
