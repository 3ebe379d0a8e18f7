"""Symbols for tensors and matrices: what is done with them is recorded as a graph."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from charlm.cells.products import block_diagonal_linear
from charlm.kernels.compiled.graph import Graph, Node, UnsupportedOperation

NO_TRANSLATION = "charlm cannot translate to C"
OTHER_INDEX = f"its step indexes another dimension than the last, which {NO_TRANSLATION}"


class TracedTensor:
    """Symbol for a tensor (batch, *dims): the columns that will hold its numbers.

    dims is (width,), or for example (heads, size): then the columns of the heads are side by side.
    """

    def __init__(
        self,
        graph: Graph,
        columns: tuple[Node, ...],
        dims: tuple[int, ...] | None = None,
        has_batch: bool = True,  # a weight has none
    ) -> None:
        self.graph, self.columns, self.has_batch = graph, columns, has_batch
        self.dims = dims or (self.width,)

    @property
    def width(self) -> int:
        """Count of the numbers of a row of the batch."""
        return sum(column.width for column in self.columns)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> "TracedTensor":
        del types
        name = getattr(func, "__name__", str(func))
        rule = RULES.get(func) or METHODS.get(name)
        if rule is None:
            raise UnsupportedOperation(f"its step calls {name}, which {NO_TRANSLATION}")
        result: TracedTensor = rule(*args, **(kwargs or {}))
        return result

    def __getattr__(self, name: str) -> Any:
        if name == "where":  # the condition is the first argument here, the second there
            return lambda condition, other: elementwise("where")(condition, self, other)
        if name in METHODS:
            return lambda *args, **kwargs: METHODS[name](self, *args, **kwargs)
        raise UnsupportedOperation(f"its step uses Tensor.{name}, which {NO_TRANSLATION}")

    def __getitem__(self, key: Any) -> "TracedTensor":
        if METHODS["has_new_dimensions"](self, key):
            return METHODS["index"](self, key)
        if not (isinstance(key, tuple) and len(key) == 2 and key[0] in (..., slice(None))):
            raise UnsupportedOperation(OTHER_INDEX)
        start, stop, stride = key[1].indices(self.width)
        if stride != 1:
            raise UnsupportedOperation("its step slices a tensor with a stride")
        return split(self, [start, max(0, stop - start), self.width - stop], -1)[1]

    __hash__ = object.__hash__

    def __matmul__(self, other: object) -> "TracedTensor":
        raise UnsupportedOperation(
            f"its step multiplies two tensors that it computes with @, which {NO_TRANSLATION}"
        )

    __rmatmul__ = __matmul__

    def __bool__(self) -> bool:
        raise UnsupportedOperation("its step branches on values")


Operand = TracedTensor | float


@dataclass(frozen=True, eq=False)
class TracedWeight:
    """Symbol for a matrix of the cell; elementwise it is a tensor without a batch."""

    name: str
    shape: tuple[int, ...]

    def tensor(self, graph: Graph) -> TracedTensor:
        """Return the numbers of the matrix, which a product leaves where they are."""
        columns = graph.leaves(f"w:{self.name}", math.prod(self.shape))
        return TracedTensor(graph, columns, self.shape, has_batch=False)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> TracedTensor:
        return TracedTensor.__torch_function__(func, types, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedOperation(f"its step uses {name} of a matrix")


class UnsupportedBuffer:
    """Symbol for a buffer that cannot be compiled: using it is an error."""

    def __init__(self, reason: str) -> None:
        self.__dict__["reason"] = reason

    @classmethod
    def __torch_function__(cls, *_: Any) -> Any:
        raise UnsupportedOperation("its step uses a buffer of another dtype than floating point")

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedOperation(self.__dict__["reason"])


def align_columns(*operands: Operand) -> list[tuple[Node | float, ...]]:
    """Return the columns of all operands side by side, split until they are equally wide."""
    for operand in operands:
        if isinstance(operand, UnsupportedBuffer):
            raise UnsupportedOperation(operand.__dict__["reason"])
        if reason := getattr(type(operand), "unsupported_operand", ""):
            raise UnsupportedOperation(reason)
        if not isinstance(operand, TracedTensor | float | int):
            raise UnsupportedOperation(
                f"its step mixes a {type(operand).__name__} with traced tensors"
            )
    rows: list[tuple[Node | float, ...]] = []
    left = [list(s.columns) if isinstance(s, TracedTensor) and s.width > 1 else s for s in operands]
    if not any(isinstance(s, list) for s in left):
        return [tuple(s.columns[0] if isinstance(s, TracedTensor) else s for s in operands)]
    while any(isinstance(s, list) and s for s in left):
        wide = [s for s in left if isinstance(s, list)]
        if not all(wide):
            raise UnsupportedOperation("its step combines tensors of different widths")
        width = min(s[0].width for s in wide)
        row: list[Node | float] = []
        for s in left:
            if isinstance(s, list):
                if s[0].width > width:
                    s[:1] = s[0].graph.split(s[0], width)
                row.append(s.pop(0))
            else:
                row.append(s.columns[0] if isinstance(s, TracedTensor) else s)
        rows.append(tuple(row))
    return rows


COMPARISONS = ("gt", "ge", "lt", "le", "eq")


def elementwise(op: str) -> Callable[..., TracedTensor]:
    """Return the rule of an elementwise operation."""

    def apply(*operands: Operand) -> TracedTensor:
        graph = next(s.graph for s in operands if isinstance(s, TracedTensor))
        operands = tuple(s.tensor(graph) if isinstance(s, TracedWeight) else s for s in operands)
        if any(isinstance(s, TracedTensor) and len(s.dims) > 1 for s in operands):
            return METHODS["broadcast"](apply, operands)
        rows = align_columns(*operands)
        is_truth = [isinstance(a, Node) and a.op in COMPARISONS for a in rows[0]]
        if op not in ("where", *COMPARISONS) and all(is_truth):
            raise UnsupportedOperation("its step computes with boolean values")
        has_batch = any(isinstance(s, TracedTensor) and s.has_batch for s in operands)
        columns = tuple(graph.of(op, *row) for row in rows)
        return TracedTensor(graph, columns, has_batch=has_batch)

    return apply


def split(x: TracedTensor, sizes: list[int] | int, dim: int = 0) -> list[TracedTensor]:
    """Trace Tensor.split."""
    if dim not in (-1, 1):
        raise UnsupportedOperation("its step splits the batch")
    if isinstance(sizes, int):
        sizes = [min(sizes, x.width - at) for at in range(0, x.width, sizes)]
    left, parts = list(x.columns), []
    for size in sizes:
        part: list[Node] = []
        while size:
            if left[0].width > size:
                left[:1] = x.graph.split(left[0], size)
            size -= left[0].width
            part.append(left.pop(0))
        parts.append(TracedTensor(x.graph, tuple(part), has_batch=x.has_batch))
    return parts


def chunk(x: TracedTensor, chunks: int, dim: int = 0) -> list[TracedTensor]:
    """Trace Tensor.chunk."""
    return split(x, -(-x.width // chunks), dim)


def cat(parts: list[TracedTensor], dim: int = 0) -> TracedTensor:
    """Trace torch.cat."""
    if dim not in (-1, 1):
        raise UnsupportedOperation("its step concatenates along the batch")
    return TracedTensor(parts[0].graph, tuple(column for part in parts for column in part.columns))


def linear(x: TracedTensor, weight: TracedWeight, bias: TracedTensor | None = None) -> TracedTensor:
    """Trace functional.linear."""
    if not isinstance(weight, TracedWeight):
        raise UnsupportedOperation(
            "its step multiplies with a matrix that is no weight of the cell"
        )
    rows, columns = weight.shape
    if x.width != columns:
        raise UnsupportedOperation("its step multiplies a matrix with a vector of another width")
    product = x.graph.product(weight.name, x.columns, rows, columns)
    out = TracedTensor(x.graph, x.graph.leaves(product.buffer, rows))
    return out if bias is None else elementwise("add")(out, bias)


def block_diagonal(x: TracedTensor, weight: TracedWeight) -> TracedTensor:
    """Trace cells.products.block_diagonal_linear."""
    parts, heads, head_size, _ = weight.shape
    width = parts * heads * head_size
    if x.width != heads * head_size:
        raise UnsupportedOperation("its step multiplies blocks with a vector of another width")
    shape = parts, heads, head_size
    product = x.graph.product(weight.name, x.columns, width, heads * head_size, shape)
    return TracedTensor(x.graph, x.graph.leaves(product.buffer, width))


def layer_norm(
    x: TracedTensor,
    shape: Any,
    weight: TracedTensor | None = None,
    bias: TracedTensor | None = None,
    eps: float = 1e-5,
) -> TracedTensor:
    """Trace functional.layer_norm."""
    if list(shape) != [x.width]:
        raise UnsupportedOperation("its step normalizes a part of a tensor")
    add, sub, mul = elementwise("add"), elementwise("sub"), elementwise("mul")
    mean = TracedTensor(x.graph, (x.graph.row_sum(x.columns) * (1 / x.width),))
    centred = sub(x, mean)
    square = x.graph.row_sum(mul(centred, centred).columns) * (1 / x.width)
    size = x.graph.of("sqrt", square + eps)
    normed = mul(centred, TracedTensor(x.graph, (x.graph.of("div", 1.0, size),)))
    if weight is not None:
        normed = mul(normed, weight)
    return normed if bias is None else add(normed, bias)


def rms_norm(
    x: TracedTensor, shape: Any, weight: TracedTensor | None = None, eps: float | None = None
) -> TracedTensor:
    """Trace functional.rms_norm."""
    if eps is None:
        raise UnsupportedOperation("its step uses rms_norm without eps")
    if list(shape) != [x.width]:
        raise UnsupportedOperation("its step normalizes a part of a tensor")
    mul = elementwise("mul")
    square = x.graph.row_sum(mul(x, x).columns) * (1 / x.width)
    size = x.graph.of("sqrt", square + eps)
    normed = mul(x, TracedTensor(x.graph, (x.graph.of("div", 1.0, size),)))
    return normed if weight is None else mul(normed, weight)


def dropout(x: TracedTensor, p: float, training: bool, inplace: bool) -> TracedTensor:
    """Trace functional.dropout, which does nothing outside of training."""
    if inplace:
        raise UnsupportedOperation("its step modifies a tensor")
    if training and p > 0:
        raise UnsupportedOperation("its step draws random numbers")
    return x


def silu(x: TracedTensor, inplace: bool) -> TracedTensor:
    """Trace functional.silu."""
    if inplace:
        raise UnsupportedOperation("its step modifies a tensor")
    return elementwise("mul")(x, elementwise("sigmoid")(x))


def softplus(x: TracedTensor) -> TracedTensor:
    """Trace functional.softplus."""
    return elementwise("neg")(elementwise("logsigmoid")(elementwise("neg")(x)))


ELEMENTWISE = [
    "add", "sub", "mul", "div", "neg", "sigmoid", "tanh", "relu", "exp", "expm1", "log", "sqrt",
    "cos", "sin", "abs", "sign", "maximum", "minimum", "remainder", "where", "gt", "ge", "lt", "le",
    "eq",
]  # fmt: skip
METHODS: dict[str, Callable[..., Any]] = {
    **{name: elementwise(name) for name in ELEMENTWISE},
    **{
        f"__{name}__": elementwise(name)
        for name in ("add", "sub", "mul", "neg", "gt", "ge", "lt", "le")
    },
    **{f"__r{name}__": elementwise(name) for name in ("add", "mul")},
    "true_divide": elementwise("div"),
    "__truediv__": elementwise("div"),
    "__rsub__": lambda a, b: elementwise("sub")(b, a),
    "rsub": lambda a, b: elementwise("sub")(b, a),
    "__rtruediv__": lambda a, b: elementwise("div")(b, a),
    "negative": elementwise("neg"),
    "square": lambda x: elementwise("mul")(x, x),
    "chunk": chunk,
    "split": split,
    "cat": cat,
}
RULES: dict[Any, Callable[..., Any]] = {
    functional.linear: linear,
    functional.layer_norm: layer_norm,
    functional.rms_norm: rms_norm,
    functional.dropout: dropout,
    functional.silu: silu,
    functional.logsigmoid: elementwise("logsigmoid"),
    functional.softplus: softplus,
    functional.relu: elementwise("relu"),
    block_diagonal_linear: block_diagonal,
    torch.Tensor.where: lambda x, condition, other: elementwise("where")(condition, x, other),
}
METHODS["__eq__"] = elementwise("eq")
for name in METHODS:
    if name.startswith("__"):
        setattr(TracedTensor, name, METHODS[name])
