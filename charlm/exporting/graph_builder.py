"""Graph of array operations, built operation by operation, with shapes and kinds of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.results.export import NumberKind, Operation, Program

COMPARISONS = {"gt", "ge", "lt", "le", "eq", "ne"}
LOGICAL = {"and", "or", "not"}
# Their results are floating-point numbers whatever their arguments are.
FLOATING = {
    *("div", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid"),
    *("logsigmoid", "erf", "softmax", "mean"),
}


class UnsupportedStep(Exception):  # noqa: N818
    """A step that the graph cannot represent; the text says why."""


@dataclass(frozen=True, eq=False)
class Value:
    """A named array of the graph."""

    name: str
    kind: NumberKind
    shape: tuple[int, ...]


Operand = Value | float


def kind_of(dtype: torch.dtype) -> NumberKind:
    """Return the kind of number of a PyTorch dtype."""
    if dtype.is_complex:
        raise UnsupportedStep("it computes with complex numbers")
    return "float" if dtype.is_floating_point else "bool" if dtype == torch.bool else "int"


class GraphBuilder:
    """Builder of a program; each method appends an operation and returns its result.

    The results have the names #0, #1, ...
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def program(self, outputs: Sequence[Value]) -> Program:
        """Return the program without the operations that no output needs."""
        needed = {value.name for value in outputs}
        operations = []
        for operation in reversed(self.operations):
            if operation.output in needed:
                operations.append(operation)
                needed |= {name for name in operation.inputs if isinstance(name, str)}
        return Program(tuple(reversed(operations)), tuple(value.name for value in outputs))

    def emit(
        self,
        op: str,
        inputs: Sequence[Operand],
        shape: Sequence[int],
        kind: NumberKind = "float",
        *,
        axes: Sequence[int] = (),
        start: int = 0,
        values: tuple[float | str, ...] = (),
    ) -> Value:
        """Append an operation as it is."""
        value = Value(f"#{len(self.operations)}", kind, tuple(shape))
        self.operations.append(
            Operation(
                op=op,
                inputs=tuple(x.name if isinstance(x, Value) else float(x) for x in inputs),
                output=value.name,
                kind=kind,
                shape=value.shape,
                axes=tuple(axes),
                start=start,
                values=values,
            )
        )
        return value

    def constant(self, tensor: Tensor) -> Value:
        """Append a tensor whose numbers do not depend on weights, token or state."""
        numbers = tensor.flatten().tolist()
        if len(set(numbers)) == 1:
            numbers = numbers[:1]
        values = tuple(float(x) if math.isfinite(x) else str(x) for x in numbers)
        return self.emit("constant", (), tensor.shape, kind_of(tensor.dtype), values=values)

    def cast(self, x: Operand, kind: NumberKind) -> Operand:
        """Convert to another kind of number; plain numbers become constants unless they float."""
        if isinstance(x, Value):
            return x if x.kind == kind else self.emit("cast", (x,), x.shape, kind)
        if kind == "float" and math.isfinite(x):
            return float(x)
        dtypes = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}
        return self.constant(torch.tensor(x, dtype=dtypes[kind]))

    def apply(self, op: str, *inputs: Operand) -> Value:
        """Append an elementwise operation, whose arguments are broadcast.

        Raises:
            UnsupportedStep: Truth values are computed with, or numbers combined as truth values.
        """
        kinds: list[NumberKind] = [
            x.kind if isinstance(x, Value) else "float" if isinstance(x, float) else "int"
            for x in inputs
        ]
        operands: list[Operand] = list(inputs)
        shape = torch.broadcast_shapes(*(x.shape for x in inputs if isinstance(x, Value)))
        if op in LOGICAL:
            if {*kinds} != {"bool"}:
                raise UnsupportedStep("it combines the bits of numbers")
            return self.emit(op, operands, shape, "bool")
        first = 1 if op == "where" else 0  # the condition stays as it is
        common: NumberKind = "float" if op in FLOATING or "float" in kinds[first:] else "int"
        operands[first:] = [self.cast(x, common) for x in operands[first:]]
        return self.emit(op, operands, shape, "bool" if op in COMPARISONS else common)

    def reduce(self, op: str, x: Value, axes: Sequence[int], keepdim: bool) -> Value:
        """Append a sum, mean, max or min over axes; all of them if none are given."""
        axes = sorted(axis % len(x.shape) for axis in axes) or range(len(x.shape))
        kind: NumberKind = "float" if op in FLOATING or x.kind == "float" else "int"
        kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        result = self.emit(op, (self.cast(x, kind),), kept, kind, axes=axes)
        if keepdim:
            return result
        return self.reshape(result, [n for axis, n in enumerate(x.shape) if axis not in axes])

    def along(self, op: str, x: Value, axis: int) -> Value:
        """Append a softmax or cumulative sum along an axis."""
        return self.emit(op, (x,), x.shape, x.kind, axes=(axis % len(x.shape),))

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Append a change of shape; one size may be -1."""
        sizes = list(shape)
        if -1 in sizes:
            known = math.prod(size for size in sizes if size != -1)
            sizes[sizes.index(-1)] = math.prod(x.shape) // known
        return x if tuple(sizes) == x.shape else self.emit("reshape", (x,), sizes, x.kind)

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        """Append a change of the order of axes."""
        axes = [axis % len(x.shape) for axis in axes]
        return self.emit("transpose", (x,), [x.shape[a] for a in axes], x.kind, axes=axes)

    def broadcast(self, x: Value, shape: Sequence[int]) -> Value:
        """Append a repetition along axes of size 1; -1 keeps a size."""
        missing = len(shape) - len(x.shape)
        old = (1,) * missing + x.shape
        sizes = [o if new == -1 else new for o, new in zip(old, shape, strict=True)]
        return x if tuple(sizes) == x.shape else self.emit("broadcast", (x,), sizes, x.kind)

    def slice(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """Append a slice along one axis; negative indices count from its end."""
        axis %= len(x.shape)
        start, stop, _ = slice(start, stop).indices(x.shape[axis])
        shape = [*x.shape[:axis], max(0, stop - start), *x.shape[axis + 1 :]]
        if tuple(shape) == x.shape:
            return x
        return self.emit("slice", (x,), shape, x.kind, axes=(axis,), start=start)

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        """Append a concatenation along an axis; parts of size 0 are left out."""
        parts = [part for part in parts if part.shape != (0,)]
        axis %= len(parts[0].shape)
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        kind: NumberKind = "float" if any(p.kind == "float" for p in parts) else parts[0].kind
        return self.emit("concat", [self.cast(p, kind) for p in parts], shape, kind, axes=(axis,))

    def matmul(self, a: Value, b: Value) -> Value:
        """Append a matrix product of (..., n, k) and (..., k, m)."""
        if {a.kind, b.kind} != {"float"}:
            raise UnsupportedStep("it multiplies matrices of whole numbers")
        batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return self.emit("matmul", (a, b), (*batch, a.shape[-2], b.shape[-1]))

    def take(self, table: Value, indices: Value, axis: int) -> Value:
        """Append rows of a table at indices, along an axis."""
        axis %= len(table.shape)
        shape = (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :])
        return self.emit("take", (table, indices), shape, table.kind, axes=(axis,))
