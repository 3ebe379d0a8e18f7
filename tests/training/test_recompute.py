"""Tests of `--recompute`: pieces of a window that are computed again for their gradient."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from conftest import TINY
from forked import run_script

from charlm.config import Config, validate_config
from charlm.data.batches import Batch, BatchSampler
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.models.cost import estimate_training_memory
from charlm.models.recurrent import detach_state
from charlm.models.regressor import RecurrentRegressor
from charlm.training import window_loss as module
from charlm.training.trainer import Trainer
from charlm.training.window_loss import window_loss

SCRIPT = Path(__file__).parents[2] / "scripts" / "window_memory.py"
LENGTH = 23  # no multiple of a piece
IDS = np.random.default_rng(0).integers(0, 9, 2000)


def settings(**changes: Any) -> Config:
    return validate_config(TINY | {"batch_size": 4, "seq_len": LENGTH, "kernel": "loop"} | changes)


def window() -> Batch:
    return BatchSampler(IDS, 4, LENGTH, 0)[0]


def loss_and_gradients(model: CharLM, batch: Batch, pieces: int) -> dict[str, torch.Tensor]:
    """Return the loss of a window that follows another, its last state and all gradients."""
    _, state = window_loss(model, batch, model.initial_state(4))
    model.zero_grad()
    torch.manual_seed(1)
    loss, last = window_loss(model, batch, detach_state(state), pieces)
    loss.backward()
    found = {"loss": loss.detach()}
    found |= {f"state {i} {k}": p for i, layer in enumerate(last) for k, p in enumerate(layer)}
    return found | {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "gru", "kernel": "loop", "initial_state": "learned"},
        {"cell": "lstm", "kernel": "compiled", "num_layers": 2},
        {"cell": "lstm", "kernel": "native", "block": "residual"},
        {"cell": "mingru", "kernel": "scan", "block": "residual", "num_layers": 2},
    ],
    ids=lambda changes: f"{changes['cell']}-{changes['kernel']}",
)
def test_gradients_are_those_of_the_whole_window(changes: dict[str, Any], pieces: int) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        model = build_char_lm(settings(**changes), 9, changes["kernel"], "cpu")
        whole, recomputed = (loss_and_gradients(model, window(), n) for n in (0, pieces))
    finally:
        torch.set_default_dtype(torch.float32)
    assert whole.keys() == recomputed.keys()
    for name, value in whole.items():
        torch.testing.assert_close(recomputed[name], value, rtol=1e-12, atol=1e-12, msg=name)


def test_gradient_reaches_the_initial_state_through_all_pieces() -> None:
    config = settings(cell="gru", initial_state="learned")
    model = build_char_lm(config, 9, "loop", "cpu")
    gradients = []
    for pieces in (0, 4):
        model.zero_grad()
        loss, _ = window_loss(model, window(), model.initial_state(4), pieces)
        loss.backward()
        gradients.append(model.initial_states[0].grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


def test_recomputed_piece_has_the_same_bits_and_the_same_dropout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against the same pieces, whose activations are kept."""
    config = settings(dropout=0.4, num_layers=2, block="residual", recompute=5)
    config = msgspec.structs.replace(config, weight_dropout=0.3)
    kept, recomputed = (new_trainer(config) for _ in range(2))
    batches = BatchSampler(IDS, 4, LENGTH, 0)
    metrics = [recomputed.train_step(batches[step]) for step in range(3)]
    monkeypatch.setattr(module, "checkpoint", lambda loss, *inputs, use_reentrant: loss(*inputs))
    assert [kept.train_step(batches[step]) for step in range(3)] == metrics
    for name, value in kept.model.state_dict().items():
        assert torch.equal(value, recomputed.model.state_dict()[name]), name


def test_window_of_one_piece_has_the_bits_of_no_recomputation() -> None:
    plain, one_piece = (new_trainer(settings(recompute=n, dropout=0.3)) for n in (0, LENGTH))
    batches = BatchSampler(IDS, 4, LENGTH, 0)
    assert plain.train_step(batches[0]) == one_piece.train_step(batches[0])


def test_training_resumed_ends_in_the_same_bits() -> None:
    config = settings(recompute=6, dropout=0.3, cell="lstm")
    whole, first, second = (new_trainer(config) for _ in range(3))
    batches = BatchSampler(IDS, 4, LENGTH, 0)
    for trainer, steps in ((whole, range(6)), (first, range(3))):
        for step in steps:
            trainer.train_step(batches[step])
    second.load_state(first.state_tensors(), first.progress(0, None))
    for step in range(3, 6):
        second.train_step(batches[step])
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def new_trainer(config: Config) -> Trainer[CharLM]:
    torch.manual_seed(0)
    return Trainer(build_char_lm(config, 9, "loop", "cpu"), config, 100)


def test_pieces_without_targets_add_nothing() -> None:
    """A task asks at a few steps only."""
    torch.manual_seed(0)
    model = RecurrentRegressor(settings(), 2)
    y = torch.full((LENGTH, 4), -100.0)
    y[-1] = 1.0
    batch = Batch(torch.randn(LENGTH, 4, 2), y, is_epoch_start=True)
    losses = [window_loss(model, batch, model.initial_state(4), n)[0] for n in (0, 4)]
    torch.testing.assert_close(*losses)


def test_estimated_memory_hardly_grows_with_the_window() -> None:
    def estimate(seq_len: int, recompute: int) -> int:
        return estimate_training_memory(settings(seq_len=seq_len, recompute=recompute), 50, "cpu")

    assert estimate(64, 64) == estimate(64, 0) == estimate(64, 100)
    assert estimate(6400, 0) > 50 * estimate(64, 0)
    assert estimate(6400, 64) < 2 * estimate(64, 0)


@pytest.mark.slow
def test_memory_of_a_process_stays_small_with_recomputation() -> None:
    """The peak of a process of its own: PyTorch allocates outside of Python's allocator."""
    peaks = []
    for recompute in (0, 64):
        done = run_script(SCRIPT, "--measure", "lstm", 2048, recompute)
        assert done.returncode == 0, done.stderr
        peaks.append(json.loads(done.stdout)["megabytes"])
    assert peaks[1] < peaks[0] / 2
