"""What a matrix learns from a text: one product over all of time."""

import torch
from torch import Tensor


def weight_gradient(blocks: tuple[int, ...], deltas: Tensor, inputs: Tensor) -> Tensor:
    """Gradients of outputs (time, batch, rows), inputs (time, batch, columns) -> of the matrix."""
    deltas, inputs = deltas.flatten(0, 1), inputs.flatten(0, 1)
    if not blocks:
        return deltas.t() @ inputs
    parts, heads, share = blocks
    deltas = deltas.unflatten(1, (parts, heads, share))
    return torch.einsum("npho,nhi->phoi", deltas, inputs.unflatten(1, (heads, share)))


def sum_by_weight(shares: list[tuple[str, Tensor]], weights: dict[str, Tensor]) -> list[Tensor]:
    """The gradient of each weight: the sum of its shares, zeros where it has none."""
    found: dict[str, Tensor] = {}
    for name, share in shares:
        found[name] = found[name] + share if name in found else share
    return [
        found[name] if name in found else torch.zeros_like(weight)
        for name, weight in weights.items()
    ]
