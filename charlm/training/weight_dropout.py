"""Merity, Keskar & Socher (2018), "Regularizing and optimizing LSTM language models", where weights
from state to state are dropped."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import Parameter

from charlm.cells.base import Cell


def recurrent_weights(cells: list[Cell]) -> list[Parameter]:
    """The weights that hold the cells' matrices from state to state."""
    held = {m.untyped_storage().data_ptr() for cell in cells for m in cell.recurrent_matrices()}
    weights = (p for cell in cells for p in cell.parameters())
    return [p for p in weights if p.untyped_storage().data_ptr() in held]


@contextmanager
def drop_weights(weights: list[Parameter], share: float) -> Iterator[None]:
    """Within it a share of the weights is 0 at all times, and the rest is as much larger; the
    gradients that are made there are those of the whole weights."""
    if not share:
        yield
        return
    kept = [weight.detach().clone() for weight in weights]
    masks = [torch.empty_like(whole).bernoulli_(1 - share).div_(1 - share) for whole in kept]
    with torch.no_grad():
        for weight, mask in zip(weights, masks, strict=True):
            weight.mul_(mask)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, whole in zip(weights, kept, strict=True):
                weight.copy_(whole)
    for weight, mask in zip(weights, masks, strict=True):
        if weight.grad is not None:
            weight.grad.mul_(mask)
