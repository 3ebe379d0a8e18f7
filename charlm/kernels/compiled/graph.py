"""A step as a graph: numbers in columns, products between them, one new column per operation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class UnsupportedOperation(Exception):
    """A step that does what no graph of ours can say; the text says what."""


class Node:
    """A column: `width` numbers for each row of the batch.

    op "leaf": where = (buffer, offset); "const": where = a number; "sum": over the row, width 1.
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
    """inputs (batch, k) times a weight's transpose (or, backwards, the weight itself).

    blocks: (parts, heads, share) of a weight that is block-diagonal; () of a full one.
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
        return f"p{self.number}"

    @property
    def width(self) -> int:
        return self.columns if self.backwards else self.rows


@dataclass
class Graph:
    """Equal columns are one node: what is computed twice in the equations is computed once."""

    nodes: dict[Any, Node] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    cuts: dict[str, set[int]] = field(default_factory=dict)  # where buffers are taken apart
    counted: int = 0

    def count(self) -> int:
        self.counted += 1
        return self.counted

    def intern(self, op: str, args: tuple[Node, ...], width: int, where: Any = None) -> Node:
        key = (op, args, width, where)
        if key not in self.nodes:
            self.nodes[key] = Node(self, op, args, width, where)
        return self.nodes[key]

    def const(self, value: float, width: int = 1) -> Node:
        return self.intern("const", (), width, float(value))

    def is_zero(self, node: Node) -> bool:
        return node.op == "const" and node.where == 0

    def leaf(self, buffer: str, offset: int, width: int) -> Node:
        return self.intern("leaf", (), width, (buffer, offset))

    def leaves(self, buffer: str, width: int) -> tuple[Node, ...]:
        """All of a buffer, cut where it is known to be taken apart."""
        cuts = sorted({0, width, *(c for c in self.cuts.get(buffer, ()) if c < width)})
        return tuple(self.leaf(buffer, a, b - a) for a, b in zip(cuts[:-1], cuts[1:], strict=True))

    def of(self, op: str, *given: "Node | float") -> Node:
        """An elementwise operation; a few that change nothing are left out."""
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
        """The sum over the row of all these columns: width 1."""
        sums = [self.intern("sum", (c,), 1) for c in columns]
        whole = sums[0]
        for other in sums[1:]:
            whole = whole + other
        return whole

    def product(
        self,
        weight: str,
        inputs: tuple[Node, ...],
        rows: int,
        columns: int,
        blocks: tuple[int, ...] = (),
        backwards: bool = False,
    ) -> Product:
        """Forwards the same product is made once; backwards each has a target of its own."""
        for known in self.products:
            if not backwards and (known.weight, known.inputs) == (weight, inputs):
                return known
        number = len(self.products)
        made = Product(number, weight, inputs, rows, columns, blocks, backwards, self.count())
        self.products.append(made)
        return made

    def split(self, node: Node, at: int) -> tuple[Node, Node]:
        """A column as two, the first `at` wide."""
        if node.op == "leaf":
            buffer, offset = node.where
            self.cuts.setdefault(buffer, set()).add(offset + at)
            first = self.leaf(buffer, offset, at)
            return first, self.leaf(buffer, offset + at, node.width - at)
        halves = [(a, a) if a.width == 1 else self.split(a, at) for a in node.args]
        first = self.of(node.op, *(half[0] for half in halves))
        return first, self.of(node.op, *(half[1] for half in halves))


def leaf_of(node: Node) -> str:
    """The buffer that a leaf stands in; "" of another node."""
    return str(node.where[0]) if node.op == "leaf" else ""


@dataclass(frozen=True)
class Op:
    """An elementwise operation: in C, and the gradients of its arguments.

    pull: (gradient, result, *arguments) -> a node for each argument, or None where there is none.
    cheap: computed again rather than kept for the way back.
    """

    c: str
    vjp: Callable[..., tuple[Node | None, ...]]
    recompute: bool = True


def _where(condition: Node, yes: "Node | float", no: "Node | float") -> Node:
    return condition.graph.of("where", condition, yes, no)


def _larger(g: Node, a: Node, b: Node) -> Node:
    """The share of g that a gets where it is the larger of the two."""
    return _where(g.graph.of("gt", a, b), g, _where(g.graph.of("eq", a, b), g * 0.5, 0))


def _none(*_: Node) -> tuple[None, ...]:
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
    "sigmoid_back": Op("({0} * {1} * (1 - {1}))", _none),
    "tanh_back": Op("({0} * (1 - {1} * {1}))", _none),
    "relu": Op(
        "({0} > 0 ? {0} : ({0} <= 0 ? 0 : {0}))",  # what is no number stays none
        lambda g, y, a: (_where(y.graph.of("gt", y, 0), g, 0),),
        recompute=False,
    ),
    "exp": Op("EXP({0})", lambda g, y, a: (g * y,), recompute=False),
    "log": Op("LOG({0})", lambda g, y, a: (g / a,), recompute=False),
    "sqrt": Op("SQRT({0})", lambda g, y, a: (g * 0.5 / y,), recompute=False),
    "cos": Op("COS({0})", lambda g, y, a: (-(g * a.graph.of("sin", a)),), recompute=False),
    "sin": Op("SIN({0})", lambda g, y, a: (g * a.graph.of("cos", a),), recompute=False),
    "logsigmoid": Op(
        "LOGSIGMOID({0})", lambda g, y, a: (g * (1 - y.graph.of("exp", y)),), recompute=False
    ),
    "abs": Op(
        "FABS({0})",
        lambda g, y, a: (_where(a.graph.of("gt", a, 0), g, _where(a.graph.of("lt", a, 0), -g, 0)),),
    ),
    # Equal ones share the gradient, as PyTorch has it. What is no number stays none.
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
    "gt": Op("({0} > {1})", _none),
    "ge": Op("({0} >= {1})", _none),
    "lt": Op("({0} < {1})", _none),
    "le": Op("({0} <= {1})", _none),
    "eq": Op("({0} == {1})", _none),
}
