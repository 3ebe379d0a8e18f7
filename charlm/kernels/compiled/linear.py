"""Linear layers over long sequences, with the same C as the products of a compiled step."""

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
MIN_ROWS = 256  # for fewer rows packing the matrix does not pay


@cache
def load_linear_library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the library for float32 or float64."""
    text = "".join(source.read_text() for source in SOURCES)
    return compiler.load_library(f"#define REAL {dtype.itemsize}\n{text}")


def _sizes(x: Tensor, weight: Tensor) -> tuple[Any, ...]:
    rows, columns = weight.shape
    return ctypes.c_long(x.numel() // x.shape[-1]), ctypes.c_int(rows), ctypes.c_int(columns)


class CompiledLinear(torch.autograd.Function):
    """x (..., columns), weight (rows, columns), bias (rows,) or None -> (..., rows)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x weight' + bias."""
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        rows, columns = weight.shape
        out = x.new_empty(*x.shape[:-1], rows)
        workspace = x.new_empty((rows + 32) * columns)
        load_linear_library(x.dtype).linear(
            *_sizes(x, weight), *map(data_pointer, (x, weight, bias, out, workspace))
        )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        grad_out = grad_out.flatten(0, -2)
        if grad_out.stride(-1) != 1:
            grad_out = grad_out.contiguous()
        grad_x = None
        if ctx.needs_input_grad[0]:
            rows, columns = weight.shape
            grad_x = torch.empty_like(x)
            workspace = x.new_empty((columns + 32) * rows)
            load_linear_library(x.dtype).linear_back(
                *_sizes(x, weight), data_pointer(grad_out), ctypes.c_long(grad_out.stride(0)),
                *map(data_pointer, (weight, grad_x, workspace)),
            )  # fmt: skip
        grad_weight = grad_out.t() @ x.flatten(0, -2)
        return grad_x, grad_weight, grad_out.sum(0) if ctx.has_bias else None


def _is_supported(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether the C can read these; everything else, errors included, is PyTorch's."""
    dtypes = {tensor.dtype for tensor in (x, weight, bias) if tensor is not None}
    has_dtype = len(dtypes) == 1 and dtypes <= {torch.float32, torch.float64}
    return has_dtype and weight.dim() == 2 and x.shape[-1] == weight.shape[1] and x.is_cpu


class CompiledLinearMode(TorchFunctionMode):
    """Use `CompiledLinear` for torch.nn.functional.linear of long sequences on the CPU."""

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
