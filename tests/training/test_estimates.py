"""Tests of estimates and of budgets in minutes, with given timings instead of a clock."""

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY

from charlm.config import Config, validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.errors import ConfigError
from charlm.runs.run import Run
from charlm.settings.values import DECAY_FRACTION
from charlm.training import planning, session
from charlm.training.dry_run import plan_training
from charlm.training.estimates import (
    EXIT_SECONDS,
    RunTimings,
    estimate_run_disk,
    measure_timings,
)
from charlm.training.schedule import branch_steps

TIMINGS = RunTimings(0.01, 1e-3, 2e-3)  # of a step, a validated token, a scored token
MINUTES = {**TINY, "max_steps": 0, "minutes": 0.5}


@pytest.fixture(scope="module")
def corpus(book: Path) -> Corpus:
    corpus = load_corpus(book)
    assert len(corpus.split("valid")) == len(corpus.split("test")) == 300
    return corpus


def test_estimate_counts_steps_branches_validations_and_the_score(corpus: Corpus) -> None:
    config = validate_config({**TINY, "branches": "1/4,1/2"})
    more = round(25 * DECAY_FRACTION) + round(50 * DECAY_FRACTION)  # steps of copies
    whole = TIMINGS.seconds(config, 100, corpus)
    assert whole == pytest.approx((100 + more) * 0.01 + (10 + 2) * 0.3 + 0.6)
    # After 42 steps, 4 of 10 validations and both branches, which start before, are done.
    assert branch_steps(50)[0] < 42
    assert TIMINGS.seconds(config, 100, corpus, 42) == pytest.approx(0.58 + 6 * 0.3 + 0.6)
    unscored = validate_config({**TINY, "final_eval": "none", "eval_every": 50})
    assert TIMINGS.seconds(unscored, 100, corpus) == pytest.approx(1.0 + 2 * 0.3)


@pytest.mark.parametrize(
    "settings", [{}, {"branches": "1/8,1/3"}, {"eval_every": 7}, {"final_eval": "none"}], ids=str
)
def test_steps_of_a_budget_in_minutes_fill_it(corpus: Corpus, settings: dict[str, Any]) -> None:
    config = validate_config({**MINUTES, **settings})
    steps = TIMINGS.steps_within(30, config, corpus)
    assert 30 - 0.5 <= TIMINGS.seconds(config, steps, corpus) + EXIT_SECONDS <= 30 + 0.1


def test_minutes_that_do_not_suffice_are_refused(corpus: Corpus) -> None:
    config = validate_config(MINUTES)
    with pytest.raises(ConfigError, match=r"cannot train within --minutes 0.5: .* Try --minutes"):
        TIMINGS.steps_within(4, config, corpus)
    assert TIMINGS.steps_within(4.2, config, corpus) >= 1


def test_minutes_count_from_the_start_of_the_command(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 12 of 30 seconds gone, 18 are left; the steps are fixed then, and so is the estimate."""

    def measure(config: Config, *_: object) -> RunTimings:
        assert config.batch_size == 4 and config.learning_rate
        return TIMINGS

    monkeypatch.setattr(planning, "measure_timings", measure)
    monkeypatch.setattr(time, "monotonic", lambda: 112.0)
    summary = plan_training(corpus, validate_config(MINUTES), tmp_path / "r", started=100.0)
    expected = TIMINGS.steps_within(18, summary.record.config, corpus)
    assert summary.record.max_steps == expected > 1000
    assert summary.seconds == pytest.approx(30, abs=0.1)
    late = plan_training(corpus, validate_config(MINUTES), tmp_path / "r", started=88.0)
    assert late.record.max_steps < expected


def test_run_of_minutes_resumes_with_the_same_steps(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = RunTimings(1.0, 1e-5, 1e-5)
    monkeypatch.setattr(planning, "measure_timings", lambda *_: slow)
    config = validate_config({**MINUTES, "minutes": 0.2})
    run = session.train(corpus, config, tmp_path / "r")
    steps = run.record.max_steps
    assert 10 <= steps <= 11
    monkeypatch.setattr(planning, "measure_timings", lambda *_: RunTimings(1e-4, 1e-9, 1e-9))
    again = session.train(corpus, config, tmp_path / "r", resume=True)
    assert again.record.max_steps == steps == Run(run.path).record.max_steps


def test_measured_timings_are_positive(corpus: Corpus) -> None:
    config = validate_config(TINY)
    assert min(measure_timings(config, corpus, "loop", "cpu", 0.01)) > 0


@pytest.mark.parametrize("keep", ["weights", "all"])
def test_disk_of_a_finished_run_is_estimated(tmp_path: Path, corpus: Corpus, keep: str) -> None:
    settings = {**TINY, "hidden_size": 96, "max_steps": 20, "kernel": "loop"}
    config = validate_config({**settings, "keep": keep})
    run = session.train(corpus, config, tmp_path / "r")
    size = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    record = run.record
    estimate = estimate_run_disk(config, 20, record.parameters, record.state_size)
    assert size <= estimate.finished <= 2 * size
    assert estimate.peak > estimate.finished
