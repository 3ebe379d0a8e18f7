"""Tests of --threads auto: numbers that are timed, the choice, and the run that records it."""

from pathlib import Path

import pytest
import torch
from conftest import TINY

from charlm.config import Config, resume_config, validate_config
from charlm.data.corpus import load_corpus
from charlm.errors import ConfigError
from charlm.results.run import ThreadTiming
from charlm.tasks.curriculum import train_curriculum
from charlm.training import checks, planning, thread_choice
from charlm.training.thread_choice import fastest_threads, thread_numbers, time_threads


@pytest.mark.parametrize(
    ("cores", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_powers_of_two_up_to_the_cores_are_timed(cores: int, numbers: list[int]) -> None:
    assert thread_numbers(cores) == numbers


@pytest.mark.parametrize(
    ("seconds", "threads"),
    [((), 1), ((2.0,), 1), ((2.0, 1.0), 2), ((1.0, 1.5), 1), ((1.04, 1.0), 1), ((3, 1.04, 1), 2)],
)
def test_smallest_number_of_nearly_the_best_speed_is_taken(
    seconds: tuple[float, ...], threads: int
) -> None:
    numbers = (1, 2, 4)
    timings = tuple(ThreadTiming(n, s) for n, s in zip(numbers, seconds, strict=False))
    assert fastest_threads(timings) == threads


def test_plan_records_measured_threads(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = load_corpus(str(book), Config())
    config = validate_config({**TINY, "cell": "rnn", "kernel": "loop", "threads": 0})
    monkeypatch.setattr(thread_choice, "available_cores", lambda: 2)
    timings = time_threads(config, corpus, "cpu")
    assert [timing.threads for timing in timings] == [1, 2]
    assert all(timing.seconds_per_step > 0 for timing in timings)
    assert time_threads(config, corpus, "cuda") == ()

    measured = (ThreadTiming(1, 3.0), ThreadTiming(2, 1.0))
    monkeypatch.setattr(planning, "time_threads", lambda *arguments: measured)
    try:
        plan = planning.plan_run(config, corpus, "cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert plan.record.config.threads == plan.record.environment.threads == 2
    assert plan.thread_timings == measured
    # The run has resolved it, so that the same command continues it.
    assert resume_config(plan.record.config, {"threads": 0}).threads == 2


def test_threads_are_not_measured_where_it_would_mislead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(threads=0, max_steps=1)
    with pytest.raises(ConfigError, match="--threads auto on a task.*Try --threads 1"):
        train_curriculum("copy", [2], config, tmp_path / "r")
    monkeypatch.setattr(checks, "world_size", lambda: 2)
    with pytest.raises(ConfigError, match="--threads auto with several processes"):
        checks.check_config(config, "book.txt")
