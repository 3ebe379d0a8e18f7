"""Chunked scan of linear recurrences: about 2 sqrt(time) sequential steps instead of `time`.

Time is cut into chunks that are unrolled side by side. Then the state that each chunk hands to the
next is computed and added. There is no division and no logarithm: it is as stable as the loop.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from charlm.cells.base import Cell, State
from charlm.cells.linear_cell import LinearCell
from charlm.cells.lru import LRU
from charlm.kernels.loop import project_tokens
from charlm.kernels.registry import register_kernel

PRIORITY = {"cpu": 20, "cuda": 20}


def linear_recurrence(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """Return all states of s[t] = a[t] s[t - 1] + b[t].

    Args:
        a: Coefficients (time, ...), real or complex.
        b: Additions (time, ...).
        s: The state before the first step (...).

    Returns:
        States (time, ...).
    """
    time = len(b)
    length = max(1, math.isqrt(time))
    num_chunks = time // length
    covered = num_chunks * length
    shape = num_chunks, length
    a_chunks, b_chunks = a[:covered].unflatten(0, shape), b[:covered].unflatten(0, shape)
    states = torch.empty_like(b)
    chunks = states[:covered].unflatten(0, shape)
    decay = torch.empty_like(chunks)  # the fraction left of the state before the chunk
    chunks[:, 0], decay[:, 0] = b_chunks[:, 0], a_chunks[:, 0]
    for t in range(1, length):
        torch.addcmul(b_chunks[:, t], a_chunks[:, t], chunks[:, t - 1], out=chunks[:, t])
        torch.mul(a_chunks[:, t], decay[:, t - 1], out=decay[:, t])
    for chunk in range(num_chunks):
        chunks[chunk].addcmul_(decay[chunk], s)
        s = chunks[chunk, -1]
    for t in range(covered, time):
        s = torch.addcmul(b[t], a[t], s, out=states[t])
    return states


class Scan(torch.autograd.Function):
    """Differentiable `linear_recurrence`.

    The gradient is the same recurrence, backwards in time (Martin & Cundy 2018).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, s: Tensor) -> Tensor:
        """Return the states (time, ...)."""
        states = linear_recurrence(a, b, s)
        ctx.save_for_backward(a, s, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of a, b and s."""
        a, s, states = ctx.saved_tensors
        a = a.conj()
        a_next = torch.cat((torch.zeros_like(a[:1]), a[1:].flip(0)))
        gradient = linear_recurrence(a_next, grad_states.flip(0), torch.zeros_like(s)).flip(0)
        previous = torch.cat((s[None], states[:-1])).conj()
        return gradient * previous, gradient, a[0] * gradient[0]


def scan(a: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """Return `linear_recurrence(a, b, s)`, differentiable."""
    states: Tensor = Scan.apply(a, b, s)
    return states


@register_kernel("scan", LinearCell, priority=PRIORITY)
def scan_linear_cell(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll a linear cell as `unroll_loop` does."""
    assert isinstance(cell, LinearCell)
    Wx, last_inputs = cell.apply_input_shift(project_tokens(cell, x, ids), state)
    a, b = cell.coefficients(Wx)  # a may be a number, or the same at all times
    a, b = torch.broadcast_tensors(torch.as_tensor(a, dtype=b.dtype, device=b.device), b)
    s = scan(a, b, state[1 if cell.output_is_readout else 0])
    if not cell.output_is_readout:
        return s, (s[-1],)
    h = cell.read_out(Wx, s)
    return h, (h[-1], s[-1], *last_inputs)


@register_kernel("scan", LRU, priority=PRIORITY)
def scan_lru(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll an LRU as `unroll_loop` does."""
    assert isinstance(cell, LRU)
    Wx = project_tokens(cell, x, ids)
    b = cell.drive(Wx)
    s = scan(cell.spectrum().expand_as(b), b, torch.complex(*state[1].chunk(2, dim=-1)))
    s = torch.cat((s.real, s.imag), dim=-1)
    h = cell.read_out(Wx, s)
    return h, (h[-1], s[-1])
