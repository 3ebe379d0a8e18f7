"""Reads a cell's step: it is run once on symbols, and what it does to them becomes a graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.cell import Cell, block_linear, projected
from charlm.engine.graph import Graph, Node, Untraceable


class Symbol:
    """A tensor (batch, width) that has no numbers yet, only the columns that they will be in."""

    def __init__(self, graph: Graph, columns: tuple[Node, ...]) -> None:
        self.graph, self.columns = graph, columns

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> "Symbol":
        del types
        name = getattr(func, "__name__", str(func))
        rule = RULES.get(func) or METHODS.get(name)
        if rule is None:
            raise Untraceable(f"its step uses {name}, which has no rule in the engine")
        result: Symbol = rule(*args, **(kwargs or {}))
        return result

    def __getattr__(self, name: str) -> Any:
        if name == "where":  # the condition is the first argument here, the second there
            return lambda condition, other: each("where")(condition, self, other)
        if name in METHODS:
            return lambda *args, **kwargs: METHODS[name](self, *args, **kwargs)
        raise Untraceable(f"its step uses {name}, which has no rule in the engine")

    def __getitem__(self, key: Any) -> "Symbol":
        if not (isinstance(key, tuple) and len(key) == 2 and key[0] in (..., slice(None))):
            raise Untraceable("its step takes a tensor apart other than along its last dimension")
        start, stop, stride = key[1].indices(self.width)
        if stride != 1:
            raise Untraceable("its step takes every other number of a tensor")
        return split(self, [start, max(0, stop - start), self.width - stop], -1)[1]

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise Untraceable("its step decides by looking at numbers")


Given = Symbol | float


@dataclass(frozen=True, eq=False)
class Weight:
    """A matrix of the cell: it can only be multiplied with."""

    name: str
    shape: tuple[int, ...]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> Symbol:
        return Symbol.__torch_function__(func, types, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"its step uses {name} of a matrix")


class Odd:
    """A buffer that the engine has no columns for; the reason is said where it is used."""

    def __init__(self, reason: str) -> None:
        self.__dict__["reason"] = reason

    @classmethod
    def __torch_function__(cls, *_: Any) -> Any:
        raise Untraceable("its step uses a buffer that holds no real numbers")

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(self.__dict__["reason"])


def aligned(*given: Given) -> list[tuple[Node | float, ...]]:
    """The columns of all, side by side and taken apart until they are equally wide."""
    for one in given:
        if isinstance(one, Odd):
            raise Untraceable(one.__dict__["reason"])
        if not isinstance(one, Symbol | float | int):
            raise Untraceable(f"its step mixes a {type(one).__name__} with what it computes")
    rows: list[tuple[Node | float, ...]] = []
    left = [list(s.columns) if isinstance(s, Symbol) and s.width > 1 else s for s in given]
    if not any(isinstance(s, list) for s in left):
        return [tuple(s.columns[0] if isinstance(s, Symbol) else s for s in given)]
    while any(isinstance(s, list) and s for s in left):
        wide = [s for s in left if isinstance(s, list)]
        if not all(wide):
            raise Untraceable("its step combines tensors of different widths")
        width = min(s[0].width for s in wide)
        row: list[Node | float] = []
        for s in left:
            if isinstance(s, list):
                if s[0].width > width:
                    s[:1] = s[0].graph.split(s[0], width)
                row.append(s.pop(0))
            else:
                row.append(s.columns[0] if isinstance(s, Symbol) else s)
        rows.append(tuple(row))
    return rows


COMPARISONS = ("gt", "ge", "lt", "le", "eq")


def each(op: str) -> Callable[..., Symbol]:
    """The rule of an elementwise operation."""

    def apply(*given: Given) -> Symbol:
        graph = next(s.graph for s in given if isinstance(s, Symbol))
        rows = aligned(*given)
        compared = [isinstance(a, Node) and a.op in COMPARISONS for a in rows[0]]
        if op not in ("where", *COMPARISONS) and all(compared):
            raise Untraceable("its step computes with truths")
        return Symbol(graph, tuple(graph.of(op, *row) for row in rows))

    return apply


def split(x: Symbol, sizes: list[int] | int, dim: int = 0) -> list[Symbol]:
    if dim not in (-1, 1):
        raise Untraceable("its step splits the batch")
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
        parts.append(Symbol(x.graph, tuple(part)))
    return parts


def chunk(x: Symbol, chunks: int, dim: int = 0) -> list[Symbol]:
    return split(x, -(-x.width // chunks), dim)


def cat(parts: list[Symbol], dim: int = 0) -> Symbol:
    if dim not in (-1, 1):
        raise Untraceable("its step joins along the batch")
    return Symbol(parts[0].graph, tuple(column for part in parts for column in part.columns))


def linear(x: Symbol, weight: Weight, bias: Symbol | None = None) -> Symbol:
    if not isinstance(weight, Weight):
        raise Untraceable("its step multiplies with a matrix that it computes")
    rows, columns = weight.shape
    if x.width != columns:
        raise Untraceable("its step multiplies a matrix with a vector of another width")
    made = x.graph.product(weight.name, x.columns, rows, columns)
    out = Symbol(x.graph, x.graph.leaves(made.buffer, rows))
    return out if bias is None else each("add")(out, bias)


def blocks(x: Symbol, weight: Weight) -> Symbol:
    parts, heads, share, _ = weight.shape
    width = parts * heads * share
    if x.width != heads * share:
        raise Untraceable("its step multiplies blocks with a vector of another width")
    made = x.graph.product(weight.name, x.columns, width, heads * share, (parts, heads, share))
    return Symbol(x.graph, x.graph.leaves(made.buffer, width))


def layer_norm(
    x: Symbol,
    shape: Any,
    weight: Symbol | None = None,
    bias: Symbol | None = None,
    eps: float = 1e-5,
) -> Symbol:
    if list(shape) != [x.width]:
        raise Untraceable("its step normalises a part of a tensor")
    add, sub, mul = each("add"), each("sub"), each("mul")
    mean = Symbol(x.graph, (x.graph.total(x.columns) * (1 / x.width),))
    centred = sub(x, mean)
    square = x.graph.total(mul(centred, centred).columns) * (1 / x.width)
    size = x.graph.of("sqrt", square + eps)
    normed = mul(centred, Symbol(x.graph, (x.graph.of("div", 1.0, size),)))
    if weight is not None:
        normed = mul(normed, weight)
    return normed if bias is None else add(normed, bias)


def softplus(x: Symbol) -> Symbol:
    return each("neg")(each("logsigmoid")(each("neg")(x)))


ELEMENTWISE = [
    "add", "sub", "mul", "div", "neg", "sigmoid", "tanh", "relu", "exp", "log", "sqrt", "cos",
    "sin", "abs", "maximum", "minimum", "remainder", "where", "gt", "ge", "lt", "le", "eq",
]  # fmt: skip

METHODS: dict[str, Callable[..., Any]] = {
    **{name: each(name) for name in ELEMENTWISE},
    **{f"__{name}__": each(name) for name in ("add", "sub", "mul", "neg", "gt", "ge", "lt", "le")},
    **{f"__r{name}__": each(name) for name in ("add", "mul")},
    "true_divide": each("div"),
    "__truediv__": each("div"),
    "__rsub__": lambda a, b: each("sub")(b, a),
    "rsub": lambda a, b: each("sub")(b, a),
    "__rtruediv__": lambda a, b: each("div")(b, a),
    "negative": each("neg"),
    "square": lambda x: each("mul")(x, x),
    "chunk": chunk,
    "split": split,
    "cat": cat,
}
RULES: dict[Any, Callable[..., Any]] = {
    functional.linear: linear,
    functional.layer_norm: layer_norm,
    functional.logsigmoid: each("logsigmoid"),
    functional.softplus: softplus,
    functional.relu: each("relu"),
    block_linear: blocks,
    torch.Tensor.where: lambda x, condition, other: each("where")(condition, x, other),
}
METHODS["__eq__"] = each("eq")
for name in METHODS:
    if name.startswith("__"):
        setattr(Symbol, name, METHODS[name])


def stand_in(module: nn.Module, graph: Graph, prefix: str = "") -> nn.Module:
    """The module with symbols in the place of its weights."""

    def symbol(name: str, tensor: Tensor | None) -> Symbol | Weight | Odd | None:
        if tensor is None:
            return None
        if not tensor.is_floating_point():
            return Odd(f"its step uses {prefix}{name}, which is of {tensor.dtype}")
        if tensor.dim() > 1:
            return Weight(prefix + name, tuple(tensor.shape))
        return Symbol(graph, graph.leaves(f"w:{prefix}{name}", tensor.numel()))

    stand = object.__new__(type(module))
    stand.__dict__.update(module.__dict__)
    stand.__dict__["_parameters"] = {n: symbol(n, p) for n, p in module._parameters.items()}
    stand.__dict__["_buffers"] = {n: symbol(n, b) for n, b in module._buffers.items()}
    stand.__dict__["_modules"] = {
        n: m and stand_in(m, graph, f"{prefix}{n}.") for n, m in module._modules.items()
    }
    return stand


@dataclass(frozen=True)
class Step:
    """A traced step: the new state of each part, its columns made of x, s0, s1 … and weights."""

    graph: Graph
    after: tuple[tuple[Node, ...], ...]
    widths: tuple[int, ...]  # of the state's parts
    inputs: int  # width of what project gives


Read = TypeVar("Read")
KNOWN: WeakKeyDictionary[Cell, dict[tuple[Any, ...], Any]] = WeakKeyDictionary()


def read(cell: Cell, make: Callable[[Cell], Read]) -> Read | str:
    """What `make` makes of this very cell's step, once; or what of it the engine cannot say.

    Of this cell, not of its class: a step may look at what only this one has.
    """
    known = KNOWN.setdefault(cell, {})
    key = make, cell.training, next(cell.parameters()).dtype
    if key not in known:
        try:
            known[key] = make(cell)
        except Untraceable as reason:
            known[key] = str(reason)
    found: Read | str = known[key]
    return found


def trace(cell: Cell) -> Step:
    """Raises Untraceable, with what the step does that the engine cannot say."""
    dtype = next(cell.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        raise Untraceable(f"it computes in {dtype}, and the engine in float32 or float64")
    with torch.no_grad():
        parts = cell.start(1)
    inputs = projected(cell)
    if any(part.dim() != 2 for part in parts):
        raise Untraceable("a part of its state is no vector")
    widths = tuple(part.shape[1] for part in parts)
    cuts: dict[str, set[int]] = {}
    while True:  # until all that is taken apart somewhere is in parts everywhere
        known = {buffer: set(at) for buffer, at in cuts.items()}
        graph = Graph(cuts=cuts)
        stand = stand_in(cell, graph)
        state = tuple(Symbol(graph, graph.leaves(f"s{k}", width)) for k, width in enumerate(widths))
        try:
            after = stand.step(Symbol(graph, graph.leaves("x", inputs)), state)  # type: ignore[operator]
        except Untraceable:
            raise
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise Untraceable(f"its step cannot be read: {str(error).splitlines()[0]}") from error
        if known == cuts:
            break
    if [part.width for part in after] != list(widths):
        raise Untraceable("its step gives a state of other widths than it was given")
    return Step(graph, tuple(part.columns for part in after), widths, inputs)
