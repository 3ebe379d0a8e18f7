"""Tests of training budgets and of the measured step time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus
from charlm.errors import ConfigError
from charlm.runs.run import Run
from charlm.training import session
from charlm.training.budget import measure_step_time


@pytest.mark.parametrize(
    ("budget", "steps"), [({"max_steps": 7}, 7), ({"epochs": 1.5}, 126), ({}, 2000)]
)
def test_budget_becomes_steps(book: Path, budget: dict[str, float], steps: int) -> None:
    config = validate_config({**{k: v for k, v in TINY.items() if k != "max_steps"}, **budget})
    corpus = load_corpus(book, config)
    assert BatchSampler(corpus.split("train"), 4, 16, 0).windows == 84
    assert session.make_run_record(config, corpus, "cpu").max_steps == steps


def test_minutes_become_steps_once(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = validate_config({**TINY, "max_steps": 0, "minutes": 0.005})
    measured: list[float] = []

    def measure(*args: Any, **options: Any) -> float:
        measured.append(measure_step_time(*args, **{**options, "budget": 0.1}))
        return measured[-1]

    monkeypatch.setattr(session, "measure_step_time", measure)
    run = session.train(str(book), config, tmp_path / "r")
    assert len(measured) == 1 and measured[0] > 0
    assert run.record.max_steps == max(1, round(0.3 / measured[0]))
    assert Run(tmp_path / "r").record == run.record


def test_two_budgets_are_refused() -> None:
    with pytest.raises(ConfigError, match="keep one of --max-steps, --minutes"):
        validate_config({"max_steps": 3, "minutes": 1.0})


def test_timing_survives_divergence_and_draws_nothing(book: Path) -> None:
    settings = {"cell": "rnn", "learning_rate": 1000.0, "grad_clip": 1e9, "warmup_steps": 0}
    config = validate_config({**TINY, **settings})
    corpus = load_corpus(book, config)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ids, size = corpus.split("train"), corpus.vocabulary.size
    assert measure_step_time(config, 400, size, "loop", "cpu", ids) > 0
    assert torch.equal(before, torch.get_rng_state())
