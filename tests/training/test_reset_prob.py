"""Tests of `--reset-prob`: streams that start a step from the initial state."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from forked import run_script
from safetensors.torch import load_file
from test_distributed import SCRIPT, run_ranks

from charlm.config import Config, validate_config
from charlm.data.batches import BatchSampler
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelState
from charlm.training.trainer import Trainer

STREAMS = 8
IDS = np.random.default_rng(0).integers(0, 9, 4000)


def resetting(**settings: object) -> Config:
    return validate_config(TINY | {"batch_size": STREAMS, "kernel": "loop"} | settings)


def new_trainer(config: Config) -> Trainer[CharLM]:
    torch.manual_seed(0)
    return Trainer(build_char_lm(config, 9, "loop", "cpu"), config, 100)


def start_states(trainer: Trainer[CharLM], steps: int) -> list[ModelState]:
    """Train, and return the state before each step."""
    states: list[ModelState] = []
    hook = trainer.model.register_forward_pre_hook(lambda _, inputs: states.append(inputs[1]))
    batches = BatchSampler(IDS, STREAMS, trainer.config.seq_len, 0)
    while trainer.step < steps:
        trainer.train_step(batches[trainer.step])
    hook.remove()
    return states


def are_initial(trainer: Trainer[CharLM], state: ModelState) -> torch.Tensor:
    """Return which streams are in the initial state, (batch,)."""
    initial = trainer.model.initial_state(STREAMS)
    parts = [
        (part == first).flatten(1).all(1)
        for layers in zip(state, initial, strict=True)
        for part, first in zip(*layers, strict=True)
    ]
    return torch.stack(parts).all(0)


@pytest.mark.parametrize(("probability", "low", "high"), [(0.25, 0.2, 0.3), (1.0, 1.0, 1.0)])
def test_streams_start_afresh_with_the_given_probability(
    probability: float, low: float, high: float
) -> None:
    config = resetting(reset_prob=probability, seq_len=4, hidden_size=4, num_layers=2)
    trainer = new_trainer(config)
    fresh = torch.stack([are_initial(trainer, s) for s in start_states(trainer, 100)[1:]])
    assert low <= float(fresh.double().mean()) <= high
    if probability < 1:  # streams and steps are independent
        assert len({tuple(row.tolist()) for row in fresh}) > 50


def test_other_streams_carry_their_state_unchanged() -> None:
    trainer = new_trainer(resetting(reset_prob=0.5, cell="lstm", block="residual"))
    start_states(trainer, 3)
    carried = trainer.carried
    assert carried
    (state,) = start_states(trainer, 4)
    kept = ~are_initial(trainer, state)
    assert 0 < int(kept.sum()) < STREAMS
    for layers in zip(state, carried, strict=True):
        for part, before in zip(*layers, strict=True):
            torch.testing.assert_close(part[kept], before[kept], rtol=0, atol=0)


def test_training_resumed_at_any_step_resets_the_same_streams() -> None:
    config = resetting(reset_prob=0.3, dropout=0.2)
    whole, first, second = (new_trainer(config) for _ in range(3))
    start_states(whole, 9)
    start_states(first, 5)
    second.load_state(first.state_tensors(), first.progress(0, None))
    start_states(second, 9)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_initial_state_learns_from_streams_that_start_afresh() -> None:
    trainer = new_trainer(resetting(reset_prob=0.5, initial_state="learned"))
    start_states(trainer, 1)
    before = [part.detach().clone() for part in trainer.model.initial_states]
    start_states(trainer, 2)
    for part, old in zip(trainer.model.initial_states, before, strict=True):
        assert part.grad is not None and float(part.grad.norm()) > 0
        assert not torch.equal(part, old)


def test_processes_reset_the_streams_that_one_process_resets(tmp_path: Path) -> None:
    """One process may reset none of its streams; gradients of the initial state still add up."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace('"grad_clip": 1.0', '"grad_clip": 1.0, "reset_prob": 0.15'))
    one, two = tmp_path / "one", tmp_path / "two"
    assert run_script(script, "rnn", one, "none", 0.0).returncode == 0
    run_ranks(2, "rnn", two, "none", 0.0, script=script)
    expected, actual = load_file(one), load_file(two)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-9, atol=1e-9, msg=name)
