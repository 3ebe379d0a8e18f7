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
    """Compute shapes and dtypes of what constructors of cells do, and fill nothing.

    A call that is written in another way than those below is left to PyTorch.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        name, module = getattr(func, "__name__", ""), getattr(func, "__module__", "")
        made: Tensor | None = None
        if module == "torch" and name in FACTORIES:
            made = _make(func, args, keywords)
        elif any(isinstance(value, Tensor) and value.is_meta for value in args):
            made = _operate(func, args, keywords)
        elif module == "torch.nn.init" and keywords["tensor"].is_meta:  # called with names alone
            made = keywords["tensor"]
        return func(*args, **keywords) if made is None else made


@contextmanager
def meta_device() -> Iterator[None]:
    """Build models with shapes, but without memory and numbers."""
    with torch.device("meta"), ShapesAlone():
        yield


def _operate(func: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Tensor | None:
    """Return what an operation on tensors returns, or None: PyTorch itself has to tell."""
    name, first = func.__name__, args[0]
    if isinstance(first, Tensor) and first.is_meta:
        if name in RANDOM or (name.endswith("_") and name[:-1] in POINTWISE):
            return first
        if name == "repeat" and not keywords:
            return _empty(_repeated_shape(*args), first.dtype)
    if name in POINTWISE and not any(isinstance(value, Tensor) for value in keywords.values()):
        # The dtype is that of one number of each; PyTorch's broadcast_shapes imports the compiler.
        dtype = func(*map(_one_number, args), **keywords).dtype
        shapes = [arg.shape for arg in args if isinstance(arg, Tensor)]
        return _empty(np.broadcast_shapes(*shapes), dtype)
    return None


def _one_number(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.ones((1,) * value.dim(), dtype=value.dtype, device="cpu")


def _make(func: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Tensor | None:
    """Return what a factory returns, or None: PyTorch itself has to tell."""
    shape_of, default_dtype = FACTORIES[func.__name__]
    is_plain = all(isinstance(arg, int | float | list | tuple) for arg in args)
    is_meta = torch.device(keywords.get("device") or "meta").type == "meta"
    if not (is_plain and is_meta and keywords.keys() <= PLAIN_KEYWORDS):
        return None
    if len(args) < POSITIONAL.get(func.__name__, 1):
        return None
    out: Tensor | None = keywords.get("out")
    shape = tuple(shape_of(*args))
    if out is not None:
        return out if out.is_meta and out.shape == shape else None
    dtype = keywords.get("dtype") or default_dtype(*args)
    return _empty(shape, dtype, requires_grad=bool(keywords.get("requires_grad")))


def _empty(shape: Sequence[int], dtype: torch.dtype, *, requires_grad: bool = False) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=requires_grad)


def _repeated_shape(tensor: Tensor, *repeats: Any) -> Sequence[int]:
    times = _size(*repeats)
    shape = (*[1] * (len(times) - tensor.dim()), *tensor.shape)
    return [size * count for size, count in zip(shape, times, strict=True)]


def _size(*args: Any) -> Sequence[int]:
    return args if isinstance(args[0], int) else args[0]


def _upper_triangle_shape(rows: int, columns: int, offset: int = 0) -> Sequence[int]:
    return 2, sum(max(0, columns - max(0, row + offset)) for row in range(rows))


def _range(*args: Any) -> Tensor:
    return torch.arange(*args, device="cpu")


def _default_dtype(*args: Any) -> torch.dtype:  # noqa: ARG001
    return torch.get_default_dtype()


PLAIN_KEYWORDS = {"dtype", "device", "out", "requires_grad"}
# Functions that make a tensor -> its shape and default dtype, from the positional arguments.
FACTORIES: dict[str, Any] = {
    "arange": (lambda *args: _range(*args).shape, lambda *args: _range(*args).dtype),
    "eye": (
        lambda rows, columns=None: (rows, rows if columns is None else columns),
        _default_dtype,
    ),
    "linspace": (lambda start, end, steps: (steps,), _default_dtype),  # noqa: ARG005
    "randn": (_size, _default_dtype),
    "triu_indices": (_upper_triangle_shape, lambda *args: torch.int64),  # noqa: ARG005
}
POSITIONAL = {"linspace": 3, "triu_indices": 2}  # the arguments without which it is unknown; or 1
