"""Budget in minutes: all work fits, and the same command continues with the same budget."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comparison_plans import SETTINGS, make_entries

from charlm.comparison import time_budget
from charlm.comparison.entries import Entry
from charlm.comparison.request import ComparisonRequest
from charlm.comparison.time_budget import SPARE, affordable_characters, characters_in_minutes
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, LocalExecutor
from charlm.training.estimates import RunTimings

TOKENS = 64  # of a step: 4 streams of 16
SPEED = RunTimings(0.01, 1e-5, 1e-5)
CORPUS: Any = SimpleNamespace(stored_split=lambda name: range(1000))
WITHOUT_STEPS = {**{k: v for k, v in SETTINGS.items() if k != "max_steps"}, "branches": ""}
BARE = {"settings": {**SETTINGS, "max_steps": 100, "branches": ""}, "memory": False, "seeds": 2}


def request_for(**fields: object) -> ComparisonRequest:
    """Return a request for two cells with a rate that is given, and so without a bracket."""
    return ComparisonRequest(**{"cells": ("rnn", "gru"), "params": 20_000, **BARE, **fields})  # type: ignore[arg-type]


def affordable(request: ComparisonRequest, directory: Path, budget: float = 100.0) -> int:
    entries = make_entries(directory, request)
    speeds = {entry.name: SPEED for entry in entries}
    return affordable_characters(request, entries, speeds, 1.0, budget, CORPUS)


def test_runs_of_the_affordable_budget_take_the_given_seconds(tmp_path: Path) -> None:
    characters = affordable(request_for(), tmp_path)
    assert characters % TOKENS == 0
    settings = {**SETTINGS, "max_steps": characters // TOKENS, "branches": ""}
    runs = [
        run
        for entry in make_entries(tmp_path, request_for(settings=settings))
        for run in entry.runs
    ]
    # Looks depend on the steps of a fifth of the run, so one may be more or less.
    taken = sum(1.0 + SPEED.seconds(run.config, run.max_steps, CORPUS) for run in runs)
    assert len(runs) == 4 and taken == pytest.approx(100.0, abs=0.1)


@pytest.mark.parametrize(
    "more",
    [
        {"memory": True},
        {"settings": {**SETTINGS, "max_steps": 100, "branches": "1/8,1/3"}},
        {"settings": {**BARE["settings"], "learning_rate": 0.0}, "trials": 4},  # type: ignore[dict-item]
        {"seeds": 3},
    ],
    ids=["memory", "branches", "trials", "seeds"],
)
def test_everything_that_is_done_besides_leaves_fewer_characters(
    tmp_path: Path, more: dict[str, object]
) -> None:
    assert affordable(request_for(**more), tmp_path) < affordable(request_for(), tmp_path)


def test_bracket_costs_two_thirds_of_a_run_of_each_cell(tmp_path: Path) -> None:
    settings = {**SETTINGS, "max_steps": 100, "branches": "1/3"}
    without = affordable(request_for(settings=settings), tmp_path, 1000.0)
    both = affordable(request_for(settings={**settings, "learning_rate": 0.0}), tmp_path, 1000.0)
    # Two seeds, and a fifth of a third more for their branch.
    assert both / without == pytest.approx(2 * (1 + 1 / 15) / (2 * (1 + 1 / 15) + 2 / 3), abs=0.01)


def test_minutes_that_leave_no_time_to_train_are_refused_with_a_number(tmp_path: Path) -> None:
    request = request_for(minutes=0.05, settings=WITHOUT_STEPS)
    with pytest.raises(ConfigError, match=r"alone take 0\.\d+\. Try --minutes \d+ or more"):
        affordable(request, tmp_path, 3.0)


def test_budget_is_measured_once_for_the_same_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []

    def measure(entries: list[Entry], *_: object) -> dict[str, RunTimings]:
        timed.append(len(entries))
        return {entry.name: SPEED for entry in entries}

    monkeypatch.setattr(time_budget, "measure_speeds", measure)
    monkeypatch.setattr(time_budget, "measure_startup_time", lambda device: 1.0)
    execution = Execution(tmp_path, LocalExecutor(2, "cpu"))

    def characters(minutes: float, *, writes: bool = True) -> int:
        request = request_for(settings=WITHOUT_STEPS, minutes=minutes)
        entries = make_entries(tmp_path, request)
        return characters_in_minutes(request, entries, CORPUS, execution, writes=writes)

    dry = characters(1.0, writes=False)
    assert not list(tmp_path.iterdir())
    first = characters(1.0)
    assert characters(1.0) == first == dry and len(timed) == 2
    assert characters(2.0) > first and len(timed) == 3
    seconds = 60 * 2 * (1 - SPARE)  # of two cores
    assert first == affordable(request_for(settings=WITHOUT_STEPS), tmp_path, seconds)


def test_a_cluster_has_no_minutes(tmp_path: Path) -> None:
    execution = Execution(tmp_path, SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--minutes in a cluster.*Try --characters"):
        request = request_for(settings=WITHOUT_STEPS, minutes=1.0)
        characters_in_minutes(request, (), CORPUS, execution, writes=False)
