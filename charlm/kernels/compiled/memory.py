"""Matrix memory of a traced step: its decays, writes and reads, as one node of the graph.

A memory (heads, keys, values) is a part of the state that only `charlm.cells.matrix_memory`
changes and reads. Its heads do not meet: each can be unrolled over all of time by itself, between
what the step computes before it and what it computes of the reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from charlm.cells import matrix_memory
from charlm.kernels.compiled.graph import Graph, Node, UnsupportedOperation, leaf_of
from charlm.kernels.compiled.shapes import broadcast_rows
from charlm.kernels.compiled.symbols import RULES, TracedTensor, TracedWeight

Columns = tuple[Node, ...]
READS = "r"  # buffer of all reads: (read, head, value)
GRADIENTS = "g"  # buffer of the gradients of all inputs, in the order of `Memory.inputs`


@dataclass(frozen=True, eq=False)
class Slot:
    """Input of a memory: for each head the columns of `width` numbers."""

    heads: tuple[Columns, ...]
    width: int

    @property
    def columns(self) -> Columns:
        """The columns of all heads, side by side."""
        return tuple(column for head in self.heads for column in head)


class Decay(NamedTuple):
    """S = a S, with a of each head or of each key."""

    a: Slot


class Write(NamedTuple):
    """S = S + k u^T with u = v + sum over the terms of c times a read."""

    k: Slot
    v: Slot
    terms: tuple[tuple[int, Slot], ...]  # number of a read, and c of each head or of each value


class Read(NamedTuple):
    """Read `number` is S^T q."""

    q: Slot
    number: int


Instruction = Decay | Write | Read


def slots_of(instruction: Instruction) -> Iterator[Slot]:
    """Yield the inputs of an instruction."""
    match instruction:
        case Decay(a):
            yield a
        case Write(k, v, terms):
            yield k
            yield v
            yield from (c for _, c in terms)
        case Read(q, _):
            yield q


@dataclass(eq=False)
class Memory:
    """A memory, and what one step does with it."""

    graph: Graph
    part: int  # of the state
    heads: int
    keys: int
    values: int
    changes: list[Decay | Write] = field(default_factory=list)
    reads: list[tuple[int, Read]] = field(default_factory=list)  # after so many changes
    dependent: dict[Node, bool] = field(default_factory=dict)

    @property
    def dims(self) -> tuple[int, int, int]:
        """Heads, keys and values."""
        return self.heads, self.keys, self.values

    @property
    def instructions(self) -> list[Instruction]:
        """Return the operations of a step in order: a read comes as early as it can."""
        ordered: list[Instruction] = []
        for version in range(len(self.changes) + 1):
            ordered += [read for at, read in self.reads if at == version]
            ordered += self.changes[version : version + 1]
        return ordered

    @property
    def slots(self) -> list[Slot]:
        """The inputs of all instructions, in order."""
        return [slot for instruction in self.instructions for slot in slots_of(instruction)]

    @property
    def inputs(self) -> Columns:
        """The columns of all slots, side by side."""
        return tuple(column for slot in self.slots for column in slot.columns)

    @property
    def decay(self) -> Slot | None:
        """Return the decay before the first write; None: all is retained."""
        first = self.changes[0] if self.changes else None
        return first.a if isinstance(first, Decay) else None

    @property
    def writes(self) -> list[Write]:
        """The writes, in order."""
        return [change for change in self.changes if isinstance(change, Write)]

    @property
    def reads_size(self) -> int:
        """Count of the numbers that a step reads."""
        return len(self.reads) * self.heads * self.values

    def read_columns(self, number: int, head: int) -> Columns:
        """Return the columns of one head's read, split at the known cuts."""
        start = (number * self.heads + head) * self.values
        inside = {c for c in self.graph.cuts.get(READS, ()) if start < c < start + self.values}
        cuts = sorted({start, start + self.values, *inside})
        pairs = zip(cuts[:-1], cuts[1:], strict=True)
        return tuple(self.graph.leaf(READS, a, b - a) for a, b in pairs)

    def depends_on_reads(self, node: Node) -> bool:
        """Return whether a node is computed from what is read."""
        if node not in self.dependent:
            products = {p.buffer: p.inputs for p in self.graph.products if not p.backwards}
            below = products.get(leaf_of(node), node.args)
            found = leaf_of(node) == READS or any([*map(self.depends_on_reads, below)])
            self.dependent[node] = found
        return self.dependent[node]

    def slot(self, x: TracedTensor, width: int, what: str) -> Slot:
        """Return an input that does not depend on reads."""
        if x.dims not in ((self.heads, width), (1, width)):
            raise UnsupportedOperation(f"its memory has a {what} of another shape")
        rows = broadcast_rows(x, (self.heads,))
        if any(self.depends_on_reads(column) for row in rows for column in row.columns):
            raise UnsupportedOperation(f"a {what} of its memory depends on what it reads")
        return Slot(tuple(row.columns for row in rows), width)


class TracedMemory:
    """Symbol for a memory after some changes."""

    unsupported_operand = (
        "its step uses a matrix in its state in other ways than decay, write and read of "
        "charlm.cells.matrix_memory"
    )

    def __init__(self, memory: Memory, version: int) -> None:
        self.memory, self.version = memory, version

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> TracedTensor:
        return TracedTensor.__torch_function__(func, types, args, kwargs)

    def __getattr__(self, name: str) -> object:
        raise UnsupportedOperation(f"its step uses {name} of a matrix in its state")

    def changed(self, change: Decay | Write) -> "TracedMemory":
        """Return the memory after one more change."""
        if self.version != len(self.memory.changes):
            raise UnsupportedOperation("its step changes one memory in two ways")
        self.memory.changes.append(change)
        return TracedMemory(self.memory, self.version + 1)


def decay(S: TracedMemory, a: TracedTensor) -> TracedMemory:
    """Trace matrix_memory.decay."""
    memory = _memory(S)
    if isinstance(a, TracedWeight):
        a = a.tensor(memory.graph)
    if a.dims == (memory.heads,):
        a = TracedTensor(a.graph, a.columns, (memory.heads, 1), a.has_batch)
    if memory.changes:
        raise UnsupportedOperation(
            "its step decays its memory twice, or after it has written to it"
        )
    width = 1 if a.dims[-1] == 1 else memory.keys
    return S.changed(Decay(memory.slot(a, width, "decay")))


def write(S: TracedMemory, k: TracedTensor, v: TracedTensor) -> TracedMemory:
    """Trace matrix_memory.write."""
    memory = _memory(S)
    key = memory.slot(k, memory.keys, "key")
    if v.dims not in ((memory.heads, memory.values), (1, memory.values)):
        raise UnsupportedOperation("its memory has a value of another shape")
    rests: list[Columns] = []
    terms: dict[int, dict[tuple[int, int], Node]] = {}
    for head, row in enumerate(broadcast_rows(v, (memory.heads,))):
        rest, at = [], 0
        for column in row.columns:
            factors, rest_column = _linear_in_reads(memory, column)
            rest.append(rest_column or memory.graph.const(0.0, column.width))
            for leaf, factor in factors.items():
                number, place = divmod(leaf.where[1], memory.heads * memory.values)
                if place != head * memory.values + at or leaf.width != column.width:
                    raise UnsupportedOperation(
                        "it writes to its memory what it has read in another place"
                    )
                terms.setdefault(number, {})[head, at] = factor
            at += column.width
        rests.append(tuple(rest))
    value = Slot(tuple(rests), memory.values)
    slots = tuple((number, _factors(memory, value, terms[number])) for number in sorted(terms))
    return S.changed(Write(key, value, slots))


def read(S: TracedMemory, q: TracedTensor) -> TracedTensor:
    """Trace matrix_memory.read."""
    memory = _memory(S)
    query, number = memory.slot(q, memory.keys, "query"), len(memory.reads)
    memory.reads.append((S.version, Read(query, number)))
    columns = [c for head in range(memory.heads) for c in memory.read_columns(number, head)]
    return TracedTensor(memory.graph, tuple(columns), (memory.heads, memory.values))


def _memory(S: TracedMemory) -> Memory:
    if not isinstance(S, TracedMemory):
        raise UnsupportedOperation("its step uses as a memory what is no matrix of its state")
    return S.memory


def _factors(memory: Memory, value: Slot, factors: dict[tuple[int, int], Node]) -> Slot:
    """Return the factors of a read: one for each head, or one for each value."""
    graph, heads = memory.graph, []
    for head, columns in enumerate(value.heads):
        offsets = [sum(c.width for c in columns[:i]) for i in range(len(columns))]
        heads.append([factors.get((head, at), graph.const(0.0)) for at in offsets])
    if all(len(set(head)) == 1 and head[0].width == 1 for head in heads):
        return Slot(tuple((head[0],) for head in heads), 1)
    wide = [
        tuple(
            graph.of("mul", factor, graph.const(1.0, column.width))
            for factor, column in zip(head, columns, strict=True)
        )
        for head, columns in zip(heads, value.heads, strict=True)
    ]
    return Slot(tuple(wide), memory.values)


def _linear_in_reads(memory: Memory, node: Node) -> tuple[dict[Node, Node], Node | None]:
    """Return the factor of each read that a node adds up, and the rest.

    Raises:
        UnsupportedOperation: The node is no linear function of what is read.
    """
    graph = memory.graph
    if not memory.depends_on_reads(node):
        return {}, node
    if node.op == "leaf":
        return {node: graph.const(1.0)}, None
    if node.op in ("add", "sub", "neg"):
        (factors, rest), *others = (_linear_in_reads(memory, arg) for arg in node.args)
        if node.op == "neg":
            return {leaf: -f for leaf, f in factors.items()}, None if rest is None else -rest
        for more, other in others:
            for leaf, factor in more.items():
                signed = -factor if node.op == "sub" else factor
                factors = {**factors, leaf: factors[leaf] + signed if leaf in factors else signed}
            if other is not None:
                signed = -other if node.op == "sub" else other
                rest = signed if rest is None else rest + signed
        return factors, rest
    dependent = [memory.depends_on_reads(arg) for arg in node.args]
    if node.op == "mul" and sum(dependent) == 1 or node.op == "div" and dependent == [True, False]:
        inside, by = node.args if dependent[0] else node.args[::-1]
        factors, rest = _linear_in_reads(memory, inside)
        scaled = {leaf: graph.of(node.op, factor, by) for leaf, factor in factors.items()}
        return scaled, None if rest is None else graph.of(node.op, rest, by)
    raise UnsupportedOperation("it writes to its memory no linear function of what it reads")


RULES.update({matrix_memory.decay: decay, matrix_memory.write: write, matrix_memory.read: read})
