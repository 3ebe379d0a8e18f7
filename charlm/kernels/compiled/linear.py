"""The product of a layer's input, for all of time at once, by the same C as a step's products."""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.compiler import data_pointer

SOURCES = [Path(__file__).with_name(name) for name in ("runtime.c", "linear.c")]
MIN_ROWS = 256  # rows: for fewer it is not worth packing the matrix


@cache
def load_linear_library(dtype: torch.dtype) -> ctypes.CDLL:
    text = "".join(source.read_text() for source in SOURCES)
    return compiler.load_library(f"#define REAL {dtype.itemsize}\n{text}")


def _sizes(x: Tensor, weight: Tensor) -> tuple[Any, ...]:
    rows, columns = weight.shape
    return ctypes.c_long(x.numel() // x.shape[-1]), ctypes.c_int(rows), ctypes.c_int(columns)


class CompiledLinear(torch.autograd.Function):
    """x (..., columns), weight (rows, columns), bias (rows,) or None -> (..., rows)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        rows, columns = weight.shape
        out = x.new_empty(*x.shape[:-1], rows)
        room = x.new_empty((rows + 32) * columns)
        load_linear_library(x.dtype).linear(
            *_sizes(x, weight), *map(data_pointer, (x, weight, bias, out, room))
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        above = above.flatten(0, -2)
        if above.stride(-1) != 1:
            above = above.contiguous()
        of_x = None
        if ctx.needs_input_grad[0]:
            rows, columns = weight.shape
            of_x = torch.empty_like(x)
            room = x.new_empty((columns + 32) * rows)
            load_linear_library(x.dtype).linear_back(
                *_sizes(x, weight), data_pointer(above), ctypes.c_long(above.stride(0)),
                *map(data_pointer, (weight, of_x, room)),
            )  # fmt: skip
        of_weight = above.t() @ x.flatten(0, -2)
        return of_x, of_weight, above.sum(0) if ctx.biased else None


def _is_supported(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether these are what the C reads; all else, errors included, is PyTorch's."""
    kinds = {tensor.dtype for tensor in (x, weight, bias) if tensor is not None}
    one = len(kinds) == 1 and kinds <= {torch.float32, torch.float64}
    return one and weight.dim() == 2 and x.shape[-1] == weight.shape[1] and x.is_cpu


class CompiledLinearMode(TorchFunctionMode):
    """Within it, torch.nn.functional.linear of a long text on the CPU is `Linear`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        if func is functional.linear and not kwargs:
            x, weight, bias = (*args, None)[:3]
            if x.dim() > 1 and x.shape[:-1].numel() >= MIN_ROWS and _is_supported(x, weight, bias):
                bias = None if bias is None else bias.contiguous()
                return CompiledLinear.apply(x.contiguous(), weight.contiguous(), bias)
        return func(*args, **(kwargs or {}))
