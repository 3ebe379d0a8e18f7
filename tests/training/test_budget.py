"""Tests of training budgets and of the measured step time."""

from pathlib import Path

import pytest
import torch
from conftest import TINY

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus
from charlm.errors import ConfigError
from charlm.training.budget import measure_step_time, resolve_max_steps, validation_interval
from charlm.training.planning import plan_run


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        ({"max_steps": 7}, 7),
        ({"epochs": 1.5}, 126),
        ({"characters": 1000}, 15),  # a step has 64
        ({}, 2_000_000 // 64),
    ],
)
def test_budget_becomes_steps(book: Path, budget: dict[str, float], steps: int) -> None:
    config = validate_config({**{k: v for k, v in TINY.items() if k != "max_steps"}, **budget})
    corpus = load_corpus(book, config)
    assert BatchSampler(corpus.split("train"), 4, 16, 0).windows == 84
    assert plan_run(config, corpus, "cpu").record.max_steps == steps


def test_budget_below_a_step_is_refused(book: Path) -> None:
    config = validate_config({**TINY, "max_steps": 0, "characters": 63})
    with pytest.raises(ConfigError, match=r"--characters 63: a step reads 64 \(4 streams of 16\)"):
        resolve_max_steps(config, load_corpus(book, config).split("train"))


@pytest.mark.parametrize(
    ("max_steps", "looks"), [(1, 1), (7, 7), (12, 6), (19, 10), (2441, 10), (100_000, 10)]
)
def test_run_has_at_most_ten_looks(max_steps: int, looks: int) -> None:
    interval = validation_interval(validate_config({}), max_steps)
    assert -(-max_steps // interval) == looks


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
