"""Tests of AdamW and of which parameters decay."""

from typing import Any

import numpy as np
import torch
from conftest import TINY
from torch.nn.utils import clip_grad_norm_

from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.models.build import build_char_lm
from charlm.training.optimizer import AdamW, clip_gradients
from charlm.training.trainer import Trainer


def test_only_matrices_decay() -> None:
    config = validate_config({**TINY, "initial_state": "learned"})
    model = build_char_lm(config, 9, "loop", "cpu")
    (matrices, decay), (vectors, no_decay) = Trainer(model, config, 1).optimizer.groups
    assert (decay, no_decay) == (0.01, 0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in matrices} == {
        *("embed.weight", "weight", "layers.0.W.weight", "layers.0.U.weight")
    }
    assert {names[id(p)] for p in vectors} == {
        *("bias", "layers.0.W.bias", "initial_states.0", "initial_states.1")
    }


def test_step_equals_torch_adamw_to_the_bit() -> None:
    """At changing rates, and for parameters that have a gradient only now and then."""
    torch.manual_seed(0)
    ours = [torch.randn(5, 7), torch.randn(7), torch.randn(7)]
    theirs = [parameter.clone() for parameter in ours]
    optimizer = AdamW([(ours[:1], 0.3), (ours[1:], 0.0)], (0.8, 0.99))
    groups: list[dict[str, Any]] = [
        {"params": theirs[:1], "weight_decay": 0.3},
        {"params": theirs[1:]},
    ]
    reference = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.8, 0.99), fused=True)
    for step in range(6):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a) if a.shape[0] == 5 or step % 2 else None
            b.grad = a.grad
        for group in reference.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.step(0.1 / (step + 1))
        reference.step()
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)
            assert optimizer.moments.get(a, {}).keys() == reference.state[b].keys()


def test_clipping_equals_torch_to_the_bit() -> None:
    torch.manual_seed(0)
    for scale in (1e-3, 0.14, 10.0):  # far below the limit, near it, and above it
        ours = [torch.randn(5, 7), torch.randn(7), torch.randn(7)]
        theirs = [parameter.clone() for parameter in ours]
        for a, b in zip(ours[:2], theirs[:2], strict=True):  # the last one has no gradient
            a.grad = torch.randn_like(a) * scale
            b.grad = a.grad.clone()
        assert torch.equal(clip_gradients(ours, 1.0), clip_grad_norm_(theirs, 1.0))
        for a, b in zip(ours[:2], theirs[:2], strict=True):
            assert a.grad is not None and b.grad is not None and torch.equal(a.grad, b.grad)


def test_beta1_weights_the_average_of_the_gradient() -> None:
    batches = BatchSampler(np.arange(200, dtype=np.uint8) % 7, 4, 16, 0)
    for beta1 in (0.0, 0.75):
        config = validate_config({**TINY, "beta1": beta1})
        trainer = Trainer(build_char_lm(config, 7, "loop", "cpu"), config, 1)
        trainer.train_step(batches[0])
        bias = trainer.model.bias
        assert bias.grad is not None
        average = trainer.optimizer.moments[bias]["exp_avg"]
        torch.testing.assert_close(average, (1 - beta1) * bias.grad)
