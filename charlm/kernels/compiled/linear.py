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
from charlm.kernels.compiled.pointers import NULL, data_pointer, rows_pointer

SOURCES = [Path(__file__).with_name(name) for name in ("runtime.c", "linear.c")]
MIN_ROWS = 256  # for fewer rows packing the matrix does not pay


@cache
def load_linear_library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the library for float32 or float64."""
    text = "".join(source.read_text() for source in SOURCES)
    return compiler.load_library(f"#define REAL {dtype.itemsize}\n{text}")


class CompiledLinear(torch.autograd.Function):
    """x (..., columns), weight (rows, columns), bias (rows,) or None -> (..., rows)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x weight' + bias."""
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        dtype, (rows, columns), lengths = x.dtype, weight.shape, x.shape[:-1]
        out, workspace = x.new_empty(*lengths, rows), x.new_empty((rows + 32) * columns)
        load_linear_library(dtype).linear(
            ctypes.c_long(lengths.numel()), ctypes.c_int(rows), ctypes.c_int(columns),
            data_pointer(x, dtype, (*lengths, columns), "the input"),
            data_pointer(weight, dtype, (rows, columns), "the weight"),
            NULL if bias is None else data_pointer(bias, dtype, (rows,), "the bias"),
            data_pointer(out, dtype, (*lengths, rows), "the output"),
            data_pointer(workspace, dtype, ((rows + 32) * columns,), "the workspace"),
        )  # fmt: skip
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
            dtype, (rows, columns), length = x.dtype, weight.shape, x.shape[:-1].numel()
            grad_x, workspace = torch.empty_like(x), x.new_empty((columns + 32) * rows)
            load_linear_library(dtype).linear_back(
                ctypes.c_long(length), ctypes.c_int(rows), ctypes.c_int(columns),
                rows_pointer(grad_out, dtype, (length, rows), "the gradient"),
                ctypes.c_long(grad_out.stride(0)),
                data_pointer(weight, dtype, (rows, columns), "the weight"),
                data_pointer(grad_x, dtype, tuple(x.shape), "the gradient of the input"),
                data_pointer(workspace, dtype, ((columns + 32) * rows,), "the workspace"),
            )  # fmt: skip
        grad_weight = grad_out.t() @ x.flatten(0, -2)
        return grad_x, grad_weight, grad_out.sum(0) if ctx.has_bias else None


def _is_supported(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether the C can read these; everything else, errors included, is PyTorch's."""
    tensors = [tensor for tensor in (x, weight, bias) if tensor is not None]
    dtypes = {tensor.dtype for tensor in tensors}
    has_dtype = len(dtypes) == 1 and dtypes <= {torch.float32, torch.float64}
    has_shapes = weight.dim() == 2 and x.shape[-1] == weight.shape[1]
    has_bias_shape = bias is None or bias.shape == weight.shape[:1]
    on_cpu = all(tensor.is_cpu for tensor in tensors)
    return has_dtype and has_shapes and has_bias_shape and on_cpu


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
