"""Tests of bfloat16: products outside of the recurrence alone, near the loss of float32."""

from typing import Literal

import pytest
import torch
from conftest import TINY
from torch import Tensor

from charlm.config import validate_config
from charlm.models.build import build_char_lm
from charlm.models.recurrent import autocast


@pytest.mark.parametrize(("cell", "block"), [("lstm", "none"), ("mingru", "residual")])
def test_recurrence_and_gradients_stay_in_float32(cell: str, block: str) -> None:
    ids = torch.arange(48).reshape(12, 4) % 7
    losses: list[Tensor] = []
    dtypes: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    for dtype in dtypes:  # on the CPU, whose bfloat16 only tests use
        config = validate_config({**TINY, "cell": cell, "block": block, "dtype": dtype})
        model = build_char_lm(config, 7, "loop", "cpu")
        with autocast(dtype, "cpu", enabled=True):
            logits, state = model(ids, model.initial_state(4))
            losses.append(model.loss_fn(logits, ids))
        losses[-1].backward()
        assert logits.dtype == (torch.float32 if dtype == "fp32" else torch.bfloat16)
        assert {part.dtype for layer in state for part in layer} == {torch.float32}
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(g is not None and g.dtype == torch.float32 for g in gradients)
    assert losses[0].item() != losses[1].item()
    assert losses[1].item() == pytest.approx(losses[0].item(), abs=0.02)
