"""Models of shapes alone, on the meta device, without loading PyTorch's compiler.

PyTorch computes the shapes of most operations on that device in Python. The first of them imports
800 modules, which takes longer than everything else that a command does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Operations whose result has the broadcast shape of their tensors.
POINTWISE = {
    *("add", "sub", "mul", "div", "pow", "remainder", "neg", "abs", "sqrt", "rsqrt", "reciprocal"),
    *("exp", "expm1", "log", "log1p", "logit", "sigmoid", "tanh", "tan", "sin", "cos", "softplus"),
    *("clamp", "relu", "silu", "where", "maximum", "minimum"),
    *("__rsub__", "__rpow__", "__rdiv__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__"),
    *("__ge__", "__and__", "__or__"),
}
RANDOM = {"normal_", "exponential_", "log_normal_", "cauchy_"}  # in place


class ShapesAlone(TorchFunctionMode):
    """Compute shapes of what constructors of cells do, and fill nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        name, module = getattr(func, "__name__", ""), getattr(func, "__module__", "")
        if module == "torch.nn.init":
            return keywords["tensor"] if keywords else args[0]
        if name in RANDOM or (name.endswith("_") and name[:-1] in POINTWISE):
            return args[0]
        if name in POINTWISE and any(isinstance(arg, Tensor) for arg in args):
            return _broadcast(args)
        if name == "repeat":
            return torch.empty(_repeated_shape(*args), device="meta")
        if module == "torch" and name in FACTORIES:
            return keywords.get("out", torch.empty(FACTORIES[name](*args), device="meta"))
        return func(*args, **keywords)


@contextmanager
def meta_device() -> Iterator[None]:
    """Build models with shapes, but without memory and numbers."""
    with torch.device("meta"), ShapesAlone():
        yield


def _broadcast(args: Sequence[Any]) -> Tensor:
    shapes = [arg.shape for arg in args if isinstance(arg, Tensor)]
    return torch.empty(
        np.broadcast_shapes(*shapes), device="meta"
    )  # PyTorch's imports the compiler


def _repeated_shape(tensor: Tensor, *repeats: Any) -> Sequence[int]:
    times = _size(*repeats)
    shape = (*[1] * (len(times) - tensor.dim()), *tensor.shape)
    return [size * count for size, count in zip(shape, times, strict=True)]


def _range_shape(*args: Any) -> Sequence[int]:
    return torch.arange(*args, device="cpu").shape


def _size(*args: Any) -> Sequence[int]:
    return args if isinstance(args[0], int) else args[0]


def _upper_triangle_shape(rows: int, columns: int, offset: int = 0) -> Sequence[int]:
    return 2, sum(max(0, columns - max(0, row + offset)) for row in range(rows))


# Functions that make a tensor -> its shape, from the positional arguments.
FACTORIES: dict[str, Any] = {
    "arange": _range_shape,
    "eye": lambda rows, columns=None: (rows, columns or rows),
    "linspace": lambda start, end, steps: (steps,),  # noqa: ARG005
    "randn": _size,
    "triu_indices": _upper_triangle_shape,
}
