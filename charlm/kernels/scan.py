"""Cells that are linear in their state: about two square roots of time, not all of it, in turn.

Time is cut into chunks that are walked side by side; then what each hands to the next is walked,
and added. Nothing is ever divided by, nor taken the logarithm of: it is as stable as the loop.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from charlm.cells.base import Cell, LinearCell, State
from charlm.cells.lru import LRU
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel


def linear_recurrence(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """s[t] = a[t] s[t - 1] + b[t], from s before: a, b (time, …), s (…) -> (time, …)."""
    time = len(b)
    length = max(1, math.isqrt(time))
    chunks = time // length
    whole = chunks * length
    a_parts, b_parts = (
        a[:whole].unflatten(0, (chunks, length)),
        b[:whole].unflatten(0, (chunks, length)),
    )
    states = torch.empty_like(b)
    parts = states[:whole].unflatten(0, (chunks, length))
    reach = torch.empty_like(parts)  # how much of what came before a chunk is left in it
    parts[:, 0], reach[:, 0] = b_parts[:, 0], a_parts[:, 0]
    for at in range(1, length):
        torch.addcmul(b_parts[:, at], a_parts[:, at], parts[:, at - 1], out=parts[:, at])
        torch.mul(a_parts[:, at], reach[:, at - 1], out=reach[:, at])
    for chunk in range(chunks):
        parts[chunk].addcmul_(reach[chunk], s)
        s = parts[chunk, -1]
    for at in range(whole, time):
        s = torch.addcmul(b[at], a[at], s, out=states[at])
    return states


class Scan(torch.autograd.Function):
    """The way back is the same recurrence, from the end to the beginning (Martin & Cundy 2018)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        states = linear_recurrence(a, b, s)
        ctx.save_for_backward(a, s, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, s, states = ctx.saved_tensors
        a = a.conj()
        following = torch.cat((torch.zeros_like(a[:1]), a[1:].flip(0)))
        gradient = linear_recurrence(following, above.flip(0), torch.zeros_like(s)).flip(0)
        before = torch.cat((s[None], states[:-1])).conj()
        return gradient * before, gradient, a[0] * gradient[0]


def scan(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """Differentiable `walked`, of real or complex numbers."""
    states: Tensor = Scan.apply(a, b, s)
    return states


@register_kernel("scan", LinearCell)
def scan_linear_cell(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    assert isinstance(cell, LinearCell)
    Wx, rest = cell.apply_input_shift(project_tokens(cell, x, ids), state)
    a, b = cell.coefficients(Wx)  # a may be one number, or the same for all times
    a, b = torch.broadcast_tensors(torch.as_tensor(a, dtype=b.dtype, device=b.device), b)
    s = scan(a, b, state[1 if cell.output_is_readout else 0])
    if not cell.output_is_readout:
        return s, (s[-1],)
    h = cell.read_out(Wx, s)
    return h, (h[-1], s[-1], *rest)


@register_kernel("scan", LRU)
def scan_lru(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    assert isinstance(cell, LRU)
    Wx = project_tokens(cell, x, ids)
    b = cell.drive(Wx)
    s = scan(cell.spectrum().expand_as(b), b, torch.complex(*state[1].chunk(2, dim=-1)))
    s = torch.cat((s.real, s.imag), dim=-1)
    h = cell.read(Wx, s)
    return h, (h[-1], s[-1])
