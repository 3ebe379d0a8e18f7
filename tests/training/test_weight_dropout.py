"""Tests of weight dropout."""

import numpy as np
import torch
from conftest import TINY

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.models.build import build_char_lm
from charlm.training.trainer import Trainer
from charlm.training.weight_dropout import drop_weights


def test_dropped_weights_get_no_gradient_and_are_restored() -> None:
    batches = BatchSampler(np.arange(200, dtype=np.uint8) % 7, 4, 16, 0)
    config = validate_config(TINY | {"cell": "gru-cho", "num_layers": 2, "weight_dropout": 0.25})
    trainer = Trainer(build_char_lm(config, 7, "loop", "cpu"), config, 1)
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    assert {names[id(p)] for p in trainer.recurrent_weights} == {
        f"layers.{layer}.{matrix}.weight" for layer in (0, 1) for matrix in ("U", "U_n")
    }
    originals = [p.detach().clone() for p in trainer.recurrent_weights]
    with drop_weights(trainer.recurrent_weights, 0.25):
        for weight, original in zip(trainer.recurrent_weights, originals, strict=True):
            remaining = weight != 0
            assert 0.5 < remaining.double().mean() < 0.95
            torch.testing.assert_close(weight[remaining], original[remaining] / 0.75)
    assert all(map(torch.equal, trainer.recurrent_weights, originals))
    trainer.train_step(batches[0])
    for weight in trainer.recurrent_weights:
        assert weight.grad is not None
        assert 0.5 < (weight.grad != 0).double().mean() < 0.95
