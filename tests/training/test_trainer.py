"""Tests of the training step: carried state, clipping, loss that is not finite."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, make_run

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.models.build import build_char_lm
from charlm.results.training import StepMetrics
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop
from charlm.training.trainer import Trainer


def test_training_learns(tmp_path: Path, book: Path) -> None:
    settings = {"max_steps": 60, "hidden_size": 24, "learning_rate": 0.02}
    run, corpus, config = make_run(tmp_path / "r", book, **settings)
    trainer, _ = restore_trainer(run, "cpu", config)
    events = run_training_loop(run, trainer, corpus)
    bits = [event.bits for event in events if isinstance(event, StepMetrics)]
    uniform = math.log2(run.vocabulary.size)
    assert bits[0] == pytest.approx(uniform, abs=0.5)
    assert np.mean(bits[-5:]) < uniform - 1


def test_state_is_carried_within_an_epoch_and_reset_after(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, kernel="loop")
    trainer, _ = restore_trainer(run, "cpu", config)
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed)
    states: list[tuple[bool, bool]] = []

    def record(module: torch.nn.Module, inputs: tuple[object, ...]) -> None:
        state = inputs[1]
        is_zero = all(bool((part == 0).all()) for layer in state for part in layer)  # type: ignore
        detached = all(not part.requires_grad for layer in state for part in layer)  # type: ignore
        states.append((is_zero, detached))

    trainer.model.register_forward_pre_hook(record)
    for step in range(batches.windows + 1):
        trainer.train_step(batches[step])
    assert [is_zero for is_zero, _ in states] == [True] + [False] * (batches.windows - 1) + [True]
    assert all(detached for _, detached in states)


def test_learned_initial_state_is_learned(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, initial_state="learned", cell="lstm")
    trainer, _ = restore_trainer(run, "cpu", config)
    before = [p.clone() for p in trainer.model.initial_states]
    list(run_training_loop(run, trainer, corpus))
    after = list(trainer.model.initial_states)
    assert len(before) == 2
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_gradient_is_clipped_by_its_whole_norm(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, grad_clip=1e-3)
    trainer, _ = restore_trainer(run, "cpu", config)
    metrics = trainer.train_step(BatchSampler(corpus.split("train"), 4, 16, 0)[0])
    norm = torch.stack([p.grad.norm() for p in trainer.model.parameters()]).norm()  # type: ignore
    assert metrics.gradient_norm > 1e-2 and norm == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("name", ["learning_rate", "grad_clip"])
def test_settings_that_are_left_to_the_recipe_are_not_trained_with(name: str) -> None:
    config = validate_config({**TINY, name: 0.0})
    with pytest.raises(AssertionError, match="recipe"):
        Trainer(build_char_lm(config, 9, "loop", "cpu"), config, 1)
