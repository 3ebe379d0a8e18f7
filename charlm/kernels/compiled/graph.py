"""Graph of a traced step: elementwise operations on columns, and matrix products."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class UnsupportedOperation(Exception):  # noqa: N818
    """A step uses an operation that the graph cannot represent; the text names it."""


class Node:
    """A column: `width` numbers for each row of the batch.

    op is a key of OPS, or: "leaf", with where = (buffer, offset); "const", with where = its value;
    "sum", the sum over the row, of width 1.
    """

    __slots__ = ("args", "graph", "index", "op", "where", "width")

    def __init__(
        self, graph: "Graph", op: str, args: tuple["Node", ...], width: int, where: Any
    ) -> None:
        self.graph, self.op, self.args, self.width, self.where = graph, op, args, width, where
        self.index = graph.count()

    def __add__(self, other: "Node | float") -> "Node":
        return self.graph.of("add", self, other)

    def __sub__(self, other: "Node | float") -> "Node":
        return self.graph.of("sub", self, other)

    def __rsub__(self, other: float) -> "Node":
        return self.graph.of("sub", other, self)

    def __mul__(self, other: "Node | float") -> "Node":
        return self.graph.of("mul", self, other)

    def __truediv__(self, other: "Node | float") -> "Node":
        return self.graph.of("div", self, other)

    def __neg__(self) -> "Node":
        return self.graph.of("neg", self)

    __radd__ = __add__
    __rmul__ = __mul__


@dataclass(frozen=True, eq=False)
class Product:
    """Inputs (batch, k) times a weight's transpose or, backwards, the weight itself.

    blocks: (parts, heads, head_size) of a block-diagonal weight, else ().
    """

    number: int
    weight: str
    inputs: tuple[Node, ...]
    rows: int  # of the weight: the width of the output, forwards
    columns: int
    blocks: tuple[int, ...]
    backwards: bool
    index: int

    @property
    def buffer(self) -> str:
        """Name of the buffer that holds the output."""
        return f"p{self.number}"

    @property
    def width(self) -> int:
        """Width of the output."""
        return self.columns if self.backwards else self.rows


@dataclass
class Graph:
    """Nodes and products of a step. Equal columns are one node: they are computed once."""

    nodes: dict[Any, Node] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    cuts: dict[str, set[int]] = field(default_factory=dict)  # offsets at which buffers are split
    counted: int = 0

    def count(self) -> int:
        """Return the next index, which orders nodes and products."""
        self.counted += 1
        return self.counted

    def intern(self, op: str, args: tuple[Node, ...], width: int, where: Any = None) -> Node:
        """Return the node with these properties; create it if there is none."""
        key = (op, args, width, where)
        if key not in self.nodes:
            self.nodes[key] = Node(self, op, args, width, where)
        return self.nodes[key]

    def const(self, value: float, width: int = 1) -> Node:
        """Return a constant column."""
        return self.intern("const", (), width, float(value))

    def is_zero(self, node: Node) -> bool:
        """Return whether a node is the constant 0."""
        return node.op == "const" and node.where == 0

    def leaf(self, buffer: str, offset: int, width: int) -> Node:
        """Return a column of a buffer."""
        return self.intern("leaf", (), width, (buffer, offset))

    def leaves(self, buffer: str, width: int) -> tuple[Node, ...]:
        """Return all columns of a buffer, split at its known cuts."""
        cuts = sorted({0, width, *(c for c in self.cuts.get(buffer, ()) if c < width)})
        return tuple(self.leaf(buffer, a, b - a) for a, b in zip(cuts[:-1], cuts[1:], strict=True))

    def of(self, op: str, *given: "Node | float") -> Node:
        """Return the result of an elementwise operation; x + 0, x * 1 and the like return x."""
        args = tuple(a if isinstance(a, Node) else self.const(a) for a in given)
        width = max(a.width for a in args)
        same: Node | None = None
        if op in ("add", "mul", "sub", "div"):
            unit = 0.0 if op in ("add", "sub") else 1.0
            first, second = ((a.op, a.where) == ("const", unit) for a in args)
            if second:
                same = args[0]
            elif first and op in ("add", "mul"):
                same = args[1]
        elif op == "where" and args[1] is args[2]:
            same = args[1]
        if same is not None and same.width == width:
            return same
        return self.intern(op, args, width)

    def row_sum(self, columns: tuple[Node, ...]) -> Node:
        """Return the sum over the row of all these columns, of width 1."""
        sums = [self.intern("sum", (c,), 1) for c in columns]
        total = sums[0]
        for other in sums[1:]:
            total = total + other
        return total

    def product(
        self,
        weight: str,
        inputs: tuple[Node, ...],
        rows: int,
        columns: int,
        blocks: tuple[int, ...] = (),
        backwards: bool = False,
    ) -> Product:
        """Return a matrix product; equal ones are one, except backwards, where targets differ."""
        for known in self.products:
            if not backwards and (known.weight, known.inputs) == (weight, inputs):
                return known
        number = len(self.products)
        new = Product(number, weight, inputs, rows, columns, blocks, backwards, self.count())
        self.products.append(new)
        return new

    def split(self, node: Node, at: int) -> tuple[Node, Node]:
        """Split a column into two; the first has the width `at`."""
        if node.op == "leaf":
            buffer, offset = node.where
            self.cuts.setdefault(buffer, set()).add(offset + at)
            first = self.leaf(buffer, offset, at)
            return first, self.leaf(buffer, offset + at, node.width - at)
        halves = [(a, a) if a.width == 1 else self.split(a, at) for a in node.args]
        first = self.of(node.op, *(half[0] for half in halves))
        return first, self.of(node.op, *(half[1] for half in halves))


def leaf_of(node: Node) -> str:
    """Return the buffer of a leaf; "" for another node."""
    return str(node.where[0]) if node.op == "leaf" else ""


@dataclass(frozen=True)
class Op:
    """Elementwise operation.

    c: C expression of its arguments {0}, {1}, ...
    vjp: (gradient, result, *arguments) -> gradient of each argument, or None if it has none.
    recompute: Whether the backward pass computes it again rather than loading it.
    """

    c: str
    vjp: Callable[..., tuple[Node | None, ...]]
    recompute: bool = True


def _where(condition: Node, yes: "Node | float", no: "Node | float") -> Node:
    return condition.graph.of("where", condition, yes, no)


def _larger(g: Node, a: Node, b: Node) -> Node:
    """Return the gradient of a in maximum(a, b): g, or half of it where both are equal."""
    return _where(g.graph.of("gt", a, b), g, _where(g.graph.of("eq", a, b), g * 0.5, 0))


def _no_gradients(*_: Node) -> tuple[None, ...]:
    return (None, None)


OPS: dict[str, Op] = {
    "add": Op("({0} + {1})", lambda g, y, a, b: (g, g)),
    "sub": Op("({0} - {1})", lambda g, y, a, b: (g, -g)),
    "mul": Op("({0} * {1})", lambda g, y, a, b: (g * b, g * a)),
    "neg": Op("(-{0})", lambda g, y, a: (-g,)),
    "div": Op("({0} / {1})", lambda g, y, a, b: (g / b, -(g * y / b)), recompute=False),
    "sigmoid": Op(
        "SIGMOID({0})", lambda g, y, a: (g.graph.of("sigmoid_back", g, y),), recompute=False
    ),
    "tanh": Op("TANH({0})", lambda g, y, a: (g.graph.of("tanh_back", g, y),), recompute=False),
    "sigmoid_back": Op("({0} * {1} * (1 - {1}))", _no_gradients),
    "tanh_back": Op("({0} * (1 - {1} * {1}))", _no_gradients),
    "relu": Op(
        "({0} > 0 ? {0} : ({0} <= 0 ? 0 : {0}))",  # NaN stays NaN
        lambda g, y, a: (_where(y.graph.of("gt", y, 0), g, 0),),
        recompute=False,
    ),
    "exp": Op("EXP({0})", lambda g, y, a: (g * y,), recompute=False),
    "expm1": Op("EXPM1({0})", lambda g, y, a: (g * (y + 1),), recompute=False),
    "log": Op("LOG({0})", lambda g, y, a: (g / a,), recompute=False),
    "sign": Op("(real)(({0} > 0) - ({0} < 0))", lambda g, y, a: (None,)),
    "sqrt": Op("SQRT({0})", lambda g, y, a: (g * 0.5 / y,), recompute=False),
    "cos": Op("COS({0})", lambda g, y, a: (-(g * a.graph.of("sin", a)),), recompute=False),
    "sin": Op("SIN({0})", lambda g, y, a: (g * a.graph.of("cos", a),), recompute=False),
    "logsigmoid": Op(
        "LOGSIGMOID({0})", lambda g, y, a: (-(g * y.graph.of("expm1", y)),), recompute=False
    ),
    "abs": Op(
        "FABS({0})",
        lambda g, y, a: (_where(a.graph.of("gt", a, 0), g, _where(a.graph.of("lt", a, 0), -g, 0)),),
    ),
    # Equal arguments share the gradient, as in PyTorch. NaN stays NaN.
    "maximum": Op(
        "({0} >= {1} ? {0} : ({0} < {1} ? {1} : {0} + {1}))",
        lambda g, y, a, b: (_larger(g, a, b), _larger(g, b, a)),
    ),
    "minimum": Op(
        "({0} <= {1} ? {0} : ({0} > {1} ? {1} : {0} + {1}))",
        lambda g, y, a, b: (_larger(g, b, a), _larger(g, a, b)),
    ),
    "remainder": Op("({0} - FLOOR({0} / {1}) * {1})", lambda g, y, a, b: (g, -(g * (a - y) / b))),
    "where": Op(
        "({0} ? {1} : {2})", lambda g, y, c, a, b: (None, _where(c, g, 0), _where(c, 0, g))
    ),
    "gt": Op("({0} > {1})", _no_gradients),
    "ge": Op("({0} >= {1})", _no_gradients),
    "lt": Op("({0} < {1})", _no_gradients),
    "le": Op("({0} <= {1})", _no_gradients),
    "eq": Op("({0} == {1})", _no_gradients),
}
