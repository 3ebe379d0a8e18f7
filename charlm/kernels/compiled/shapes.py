"""Symbols of more dimensions than a row: what tensors such as (batch, heads, size) can do.

Their columns are those of every row of the last dimension, side by side. Imported for its rules.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch.nn import functional

from charlm.kernels.compiled.graph import UnsupportedOperation
from charlm.kernels.compiled.symbols import (
    METHODS,
    NO_TRANSLATION,
    OTHER_INDEX,
    RULES,
    Operand,
    TracedTensor,
    cat,
    elementwise,
    layer_norm,
    rms_norm,
    split,
)

Dims = tuple[int, ...]
NORMALIZE_EPSILON = 1e-12  # of torch.nn.functional.normalize


def rows_of(x: TracedTensor) -> list[TracedTensor]:
    """Return the rows of the last dimension, each of one dimension, in order."""
    size = x.dims[-1]
    return split(x, [size] * (x.width // size if size else 0), -1)


def join_rows(rows: Sequence[TracedTensor], outer: Dims) -> TracedTensor:
    """Return a tensor of the dimensions `outer` and the last one, with these rows."""
    columns = tuple(column for row in rows for column in row.columns)
    has_batch = any(row.has_batch for row in rows)
    return TracedTensor(rows[0].graph, columns, (*outer, rows[0].width), has_batch)


def with_dims(x: TracedTensor, dims: Dims) -> TracedTensor:
    """Return the same numbers in other dimensions."""
    if math.prod(dims) != x.width:
        raise UnsupportedOperation(f"its step changes the shape {x.dims} to {dims}")
    return TracedTensor(x.graph, x.columns, dims, x.has_batch)


def broadcast_dims(dims: Sequence[Dims]) -> Dims:
    """Return the dimensions that tensors of these have together."""
    rank = max(map(len, dims))
    padded = [(1,) * (rank - len(each)) + each for each in dims]
    sizes = [{size for size in column if size != 1} for column in zip(*padded, strict=True)]
    if any(len(each) > 1 for each in sizes):
        raise UnsupportedOperation("its step combines tensors of different widths")
    return tuple(next(iter(each), 1) for each in sizes)


def broadcast_rows(x: TracedTensor, outer: Dims) -> list[TracedTensor]:
    """Return the rows of a tensor that is repeated to the dimensions `outer` and its last one."""
    rows, own = rows_of(x), x.dims[:-1]
    if len(own) > len(outer):
        raise UnsupportedOperation(f"its step expands a tensor to fewer dimensions than {own}")
    own = (1,) * (len(outer) - len(own)) + own
    if any(size not in (1, wanted) for size, wanted in zip(own, outer, strict=True)):
        raise UnsupportedOperation("its step combines tensors of different widths")
    chosen = []
    for position in product(*map(range, outer)):
        at = 0
        for i, size in zip(position, own, strict=True):
            at = at * size + (i if size > 1 else 0)
        chosen.append(rows[at])
    return chosen


def broadcast(apply: Callable[..., TracedTensor], operands: Sequence[Operand]) -> TracedTensor:
    """Apply an elementwise operation to tensors of several dimensions, row by row."""
    dims = broadcast_dims([s.dims for s in operands if isinstance(s, TracedTensor)])
    rows: list[Sequence[Any]] = [
        broadcast_rows(s, dims[:-1]) if isinstance(s, TracedTensor) else [s] * math.prod(dims[:-1])
        for s in operands
    ]
    return join_rows([apply(*row) for row in zip(*rows, strict=True)], dims[:-1])


def expand(x: TracedTensor, *sizes: int) -> TracedTensor:
    """Trace Tensor.expand; the batch is the first of the sizes."""
    wanted = tuple(sizes[1:]) if x.has_batch else tuple(sizes)
    own = (1,) * (len(wanted) - len(x.dims)) + x.dims
    if len(own) != len(wanted):
        raise UnsupportedOperation("its step expands a tensor to fewer dimensions")
    dims = tuple(have if size == -1 else size for have, size in zip(own, wanted, strict=True))
    return _expand_to(x, dims)


def _expand_to(x: TracedTensor, dims: Dims) -> TracedTensor:
    rows = broadcast_rows(x, dims[:-1])
    if x.dims[-1] != dims[-1]:
        ones = TracedTensor(x.graph, (x.graph.const(1.0, dims[-1]),))
        rows = [elementwise("mul")(row, ones) for row in rows]
    return join_rows(rows, dims[:-1])


def _axis(x: TracedTensor, dim: int) -> int:
    """Return the position of a dimension in `dims`; it is not the batch."""
    axis = dim if dim < 0 else dim - x.has_batch - len(x.dims)
    if not -len(x.dims) <= axis < 0:
        raise UnsupportedOperation("its step reshapes the batch")
    return axis + len(x.dims)


def unflatten(x: TracedTensor, dim: int, sizes: Sequence[int]) -> TracedTensor:
    """Trace Tensor.unflatten."""
    axis = _axis(x, dim)
    known = math.prod(size for size in sizes if size != -1)
    given = tuple(x.dims[axis] // known if size == -1 else size for size in sizes)
    return with_dims(x, (*x.dims[:axis], *given, *x.dims[axis + 1 :]))


def flatten(x: TracedTensor, start_dim: int = 0, end_dim: int = -1) -> TracedTensor:
    """Trace Tensor.flatten."""
    start, end = _axis(x, start_dim), _axis(x, end_dim)
    merged = math.prod(x.dims[start : end + 1])
    return with_dims(x, (*x.dims[:start], merged, *x.dims[end + 1 :]))


def has_new_dimensions(x: TracedTensor, key: Any) -> bool:
    """Return whether an index is one of `index`: the tensor or the result has many dimensions."""
    return len(x.dims) > 1 or (isinstance(key, tuple) and any(each is None for each in key))


def index(x: TracedTensor, key: Any) -> TracedTensor:
    """Trace indexing with None, `:` and, in the last dimension, a slice or number."""
    keys = list(key) if isinstance(key, tuple) else [key]
    given = sum(each is not None and each is not ... for each in keys)
    missing = len(x.dims) + x.has_batch - given
    at = keys.index(...) if ... in keys else len(keys)
    keys[at : at + 1] = [slice(None)] * missing
    if x.has_batch and keys.pop(0) != slice(None):
        raise UnsupportedOperation("its step indexes the batch")
    left, dims = list(x.dims), []
    for each in keys:
        if each is None:
            dims.append(1)
            continue
        size = left.pop(0)
        if each == slice(None):
            dims.append(size)
        elif left or not isinstance(each, slice) or each.step not in (None, 1):
            raise UnsupportedOperation(OTHER_INDEX)
        else:
            start, stop, _ = each.indices(size)
            parts = split_last(x, [start, max(0, stop - start), size - stop], -1)
            x = parts[1]
            dims.append(x.dims[-1])
    return with_dims(x, tuple(dims))


def split_last(x: TracedTensor, sizes: Sequence[int] | int, dim: int = 0) -> list[TracedTensor]:
    """Trace Tensor.split, of the last dimension."""
    if len(x.dims) == 1:
        return split(x, list(sizes) if isinstance(sizes, tuple) else sizes, dim)  # type: ignore[arg-type]
    if _axis(x, dim) != len(x.dims) - 1:
        raise UnsupportedOperation("its step splits another than the last dimension")
    rows = [
        split(row, list(sizes) if not isinstance(sizes, int) else sizes, -1) for row in rows_of(x)
    ]
    return [join_rows(parts, x.dims[:-1]) for parts in zip(*rows, strict=True)]


def chunk_last(x: TracedTensor, chunks: int, dim: int = 0) -> list[TracedTensor]:
    """Trace Tensor.chunk, of the last dimension."""
    return split_last(x, -(-x.dims[-1] // chunks), dim)


def unbind(x: TracedTensor, dim: int = 0) -> list[TracedTensor]:
    """Trace Tensor.unbind, of the first dimension after the batch."""
    if len(x.dims) == 1 or _axis(x, dim) != 0:
        raise UnsupportedOperation("its step takes apart another than the first dimension")
    parts = split(x, [x.width // x.dims[0]] * x.dims[0], -1)
    return [with_dims(part, x.dims[1:]) for part in parts]


def cat_last(parts: Sequence[TracedTensor], dim: int = 0) -> TracedTensor:
    """Trace torch.cat, of the last dimension."""
    outer = parts[0].dims[:-1]
    if not outer:
        return cat(list(parts), dim)
    if _axis(parts[0], dim) != len(outer) or any(part.dims[:-1] != outer for part in parts):
        raise UnsupportedOperation("its step concatenates another than the last dimension")
    rows = zip(*map(rows_of, parts), strict=True)
    return join_rows([cat(list(row), -1) for row in rows], outer)


def row_sum(x: TracedTensor, dim: int | None = None, keepdim: bool = False) -> TracedTensor:
    """Trace Tensor.sum, of the last dimension."""
    if dim is None or _axis(x, dim) != len(x.dims) - 1:
        raise UnsupportedOperation("its step uses sum over another than the last dimension")
    rows = [TracedTensor(x.graph, (x.graph.row_sum(row.columns),)) for row in rows_of(x)]
    result = join_rows(rows, x.dims[:-1])
    if keepdim:
        return result
    if len(x.dims) == 1:
        raise UnsupportedOperation("its step uses sum without keepdim=True")
    return with_dims(result, x.dims[:-1])


def einsum(equation: str, *operands: TracedTensor) -> TracedTensor:
    """Trace torch.einsum of two tensors whose products are added up over the last dimension."""
    inputs, _, output = equation.partition("->")
    first, _, second = inputs.partition(",")
    if first != second or output != first[:-1]:
        raise UnsupportedOperation(f'its step calls einsum("{equation}"), which {NO_TRANSLATION}')
    return row_sum(elementwise("mul")(*operands), -1)


def clamp(x: TracedTensor, min: float | None = None, max: float | None = None) -> TracedTensor:
    """Trace Tensor.clamp with numbers; at a bound the gradient passes, as in PyTorch."""
    for bound, comparison in ((min, "lt"), (max, "gt")):
        if bound is not None:
            x = elementwise("where")(elementwise(comparison)(x, bound), bound, x)
    return x


def over_rows(rule: Callable[..., TracedTensor]) -> Callable[..., TracedTensor]:
    """Return a rule of a row as a rule of the last dimension."""

    def apply(x: TracedTensor, *args: Any, **kwargs: Any) -> TracedTensor:
        return join_rows([rule(row, *args, **kwargs) for row in rows_of(x)], x.dims[:-1])

    return apply


def normalize(
    x: TracedTensor, p: float = 2.0, dim: int = 1, eps: float = NORMALIZE_EPSILON, out: Any = None
) -> TracedTensor:
    """Trace functional.normalize, of the last dimension."""
    if p != 2 or out is not None or _axis(x, dim) != len(x.dims) - 1:
        raise UnsupportedOperation("its step normalizes another than the last dimension")
    square = row_sum(elementwise("mul")(x, x), -1, keepdim=True)
    # The bound is below the root, whose gradient at 0 would be infinite.
    return elementwise("div")(x, elementwise("sqrt")(clamp(square, min=eps**2)))


def new_tensor(x: TracedTensor, numbers: Any, **_: Any) -> TracedTensor:
    """Trace Tensor.new_tensor of one dimension: constants."""
    columns = tuple(x.graph.const(float(number)) for number in numbers)
    return TracedTensor(x.graph, columns, has_batch=False)


METHODS.update(
    {
        "has_new_dimensions": has_new_dimensions,
        "index": index,
        "broadcast": broadcast,
        "expand": expand,
        "expand_as": lambda x, other: _expand_to(x, other.dims),
        "unflatten": unflatten,
        "flatten": flatten,
        "split": split_last,
        "chunk": chunk_last,
        "unbind": unbind,
        "cat": cat_last,
        "sum": row_sum,
        "clamp": clamp,
        "new_tensor": new_tensor,
        "__mod__": elementwise("remainder"),
    }
)
RULES.update(
    {
        torch.einsum: einsum,
        functional.layer_norm: over_rows(layer_norm),
        functional.rms_norm: over_rows(rms_norm),
        functional.normalize: normalize,
    }
)
setattr(TracedTensor, "__mod__", METHODS["__mod__"])  # noqa: B010
