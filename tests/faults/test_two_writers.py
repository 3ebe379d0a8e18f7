"""Tests of races for a directory: one writer at a time, and a broken lock is found."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import two_writers
from faults.places import memory_directory, place

from charlm.storage.lock import exclusive_lock


@pytest.mark.slow
def test_processes_never_write_one_directory_at_once() -> None:
    hazard = two_writers.run(0.01)
    assert hazard.failures == () and hazard.trials >= 13


def race(times: int) -> list[str]:
    rng = random.Random(0)
    problems = []
    with memory_directory() as directory:
        for _ in range(times):
            with place(directory) as folder:
                problems.append(two_writers.race_for_lock(folder, rng))
    return [problem for problem in problems if problem]


def test_lock_that_is_released_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def released_at_once(path: Path) -> Iterator[None]:
        with exclusive_lock(path):
            pass
        path.mkdir(exist_ok=True)
        yield

    monkeypatch.setattr(two_writers, "exclusive_lock", released_at_once)
    assert any(str(two_writers.TWO_WRITERS) in problem for problem in race(3))


def test_directory_that_a_failed_writer_removes_is_made_again() -> None:
    assert race(12) == []
