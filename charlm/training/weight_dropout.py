"""Weight dropout of hidden-to-hidden weights (DropConnect).

Source: Merity, Keskar & Socher (2018), "Regularizing and optimizing LSTM language models".
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import Parameter

from charlm.cells.base import Cell


def recurrent_weights(cells: list[Cell]) -> list[Parameter]:
    """Return the parameters that hold the hidden-to-hidden matrices of the cells."""
    storages = {m.untyped_storage().data_ptr() for cell in cells for m in cell.recurrent_matrices()}
    parameters = (p for cell in cells for p in cell.parameters())
    return [p for p in parameters if p.untyped_storage().data_ptr() in storages]


@contextmanager
def drop_weights(weights: list[Parameter], probability: float) -> Iterator[None]:
    """Set random weights to 0 within the block and scale the others by 1 / (1 - probability).

    The weights are restored afterwards. Gradients computed in the block are those of the original
    weights.

    Args:
        weights: Parameters, changed in place within the block.
        probability: Probability that a weight is dropped, for all time steps of the block.
    """
    if not probability:
        yield
        return
    originals = [weight.detach().clone() for weight in weights]
    masks = [
        torch.empty_like(original).bernoulli_(1 - probability).div_(1 - probability)
        for original in originals
    ]
    with torch.no_grad():
        for weight, mask in zip(weights, masks, strict=True):
            weight.mul_(mask)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, original in zip(weights, originals, strict=True):
                weight.copy_(original)
    for weight, mask in zip(weights, masks, strict=True):
        if weight.grad is not None:
            weight.grad.mul_(mask)
