"""Selective scan of Mamba (S6) in C, as one differentiable operation on a CPU.

Each number of the state decays by itself, at a rate that depends on the token: as columns of a
traced step these would be too many.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, exp
from torch.autograd.function import once_differentiable

from charlm.cells.base import Cell, State
from charlm.cells.mamba import STATE_SIZE, Mamba
from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.kernel_cache import UnavailableKernelError
from charlm.kernels.compiled.linear import CompiledLinearMode, load_linear_library
from charlm.kernels.compiled.pointers import NULL, check_token_ids, data_pointer
from charlm.kernels.loop import embed_if_shorter
from charlm.kernels.registry import register_kernel

SOURCES = [Path(__file__).with_name(name) for name in ("runtime.c", "selective_scan.c")]
SEGMENT = 8  # steps between two kept states
UNITS = 16  # of a block


@cache
def load_scan_library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the library for float32 or float64."""
    text = "".join(source.read_text() for source in SOURCES)
    sizes = {"REAL": dtype.itemsize, "SEGMENT": SEGMENT, "UNITS": UNITS, "NUMBERS": STATE_SIZE}
    defines = "".join(f"#define {name} {size}\n" for name, size in sizes.items())
    return compiler.load_library(defines + text)


def unsupported_reason(cell: Cell, device: str) -> str:
    """Return why the compiled scan cannot unroll this cell, or ""."""
    if device != "cpu":
        return "compiled kernels run on a CPU"
    dtype = next(cell.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        return f"it computes in {dtype}, not in float32 or float64"
    return "" if compiler.compiler() else compiler.unavailable_reason()


def build(cell: Cell | None) -> str:
    """Build the library for a cell, and return why it cannot be built, or ""."""
    if cell is None:
        return compiler.unavailable_reason()
    dtype = next(cell.parameters()).dtype
    try:
        load_scan_library(dtype)
        load_linear_library(dtype)
    except UnavailableKernelError as error:
        return error.reason
    return ""


class SelectiveScan(torch.autograd.Function):
    """(is_signed, ids, x, A, D, s) -> (h, last s); x is [u | z | d | B | C] of each token or id."""

    @staticmethod
    def forward(
        ctx: Any, is_signed: bool, ids: Tensor | None, x: Tensor, A: Tensor, D: Tensor, s: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs (time, batch, units) and the last state (batch, units * 16).

        Args:
            ctx: What the backward pass needs.
            is_signed: Whether a is 2 exp(d A) - 1, not exp(d A).
            ids: Rows of x (time, batch), or None.
            x: (time, batch, 3 units + 32), or with ids (any, 3 units + 32).
            A: (units, 16).
            D: (units,).
            s: The state before the first step (batch, units * 16).
        """
        time, batch = (x if ids is None else ids).shape[:2]
        units, dtype = len(D), x.dtype
        size = -(-units // UNITS) * UNITS * STATE_SIZE
        history = x.new_empty(-(-time // SEGMENT), batch, size)
        y, h = x.new_empty(time, batch, units), x.new_empty(time, batch, units)
        last, core = torch.empty_like(s), x.new_empty(2 * size)
        load_scan_library(dtype).selective_scan(
            *_inputs(is_signed, ids, x, A, D, (time, batch)),
            data_pointer(s, dtype, (batch, units * STATE_SIZE), "the state"),
            data_pointer(history, dtype, tuple(history.shape), "the kept states"),
            data_pointer(y, dtype, (time, batch, units), "what is read"),
            data_pointer(h, dtype, (time, batch, units), "the output"),
            data_pointer(last, dtype, (batch, units * STATE_SIZE), "the last state"),
            data_pointer(core, dtype, (2 * size,), "the workspace"),
        )
        ctx.is_signed, ctx.has_ids = is_signed, ids is not None
        ctx.save_for_backward(x.new_empty(0) if ids is None else ids, x, A, D, history, y)
        return h, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, A, D and s."""
        ids, x, A, D, history, y = ctx.saved_tensors
        ids = ids if ctx.has_ids else None
        (time, batch, units), dtype = y.shape, x.dtype
        grad_h, state = grad_h.contiguous(), grad_last.clone(memory_format=torch.contiguous_format)
        grad_x, grad_A, grad_D = torch.zeros_like(x), torch.zeros_like(A), torch.zeros_like(D)
        core = x.new_empty(3 * history.shape[-1])
        load_scan_library(dtype).selective_scan_back(
            *_inputs(ctx.is_signed, ids, x, A, D, (time, batch)),
            data_pointer(history, dtype, tuple(history.shape), "the kept states"),
            data_pointer(y, dtype, (time, batch, units), "what was read"),
            data_pointer(grad_h, dtype, (time, batch, units), "the gradient of the output"),
            data_pointer(state, dtype, (batch, units * STATE_SIZE), "the gradient of the state"),
            data_pointer(grad_x, dtype, tuple(x.shape), "the gradient of the input"),
            data_pointer(grad_A, dtype, (units, STATE_SIZE), "the gradient of A"),
            data_pointer(grad_D, dtype, (units,), "the gradient of D"),
            data_pointer(core, dtype, tuple(core.shape), "the workspace"),
        )
        return None, None, grad_x, grad_A, grad_D, state


def _inputs(
    is_signed: bool, ids: Tensor | None, x: Tensor, A: Tensor, D: Tensor, shape: tuple[int, int]
) -> tuple[Any, ...]:
    """Return the arguments that both C functions take first."""
    units, dtype = len(D), x.dtype
    rows = shape if ids is None else (len(x),)
    return (
        *map(ctypes.c_long, (*shape, units, is_signed)),
        NULL if ids is None else data_pointer(ids, torch.int64, shape, "ids"),
        data_pointer(x, dtype, (*rows, 3 * units + 2 * STATE_SIZE), "the projected input"),
        data_pointer(A, dtype, (units, STATE_SIZE), "A"),
        data_pointer(D, dtype, (units,), "D"),
    )


@register_kernel("compiled", Mamba, priority={"cpu": 30}, unless=unsupported_reason, build=build)
def unroll_mamba(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll a Mamba as `unroll_loop` does."""
    assert isinstance(cell, Mamba)
    x, ids = embed_if_shorter(x, ids)
    with CompiledLinearMode():
        Wx = cell.project_inputs(x).contiguous()
    if ids is not None:
        ids = check_token_ids(ids, len(Wx))
    A = -exp(cell.A_log).unflatten(0, (cell.hidden_size, STATE_SIZE))
    s = state[1].contiguous()
    h, s = SelectiveScan.apply(cell.eigenvalues == "signed", ids, Wx, A, cell.D, s)
    return h, (h[-1], s)
