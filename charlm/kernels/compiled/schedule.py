"""Schedule of a traced step: which loops and products compute its columns, level by level."""

from collections.abc import Iterable
from dataclasses import dataclass

from charlm.kernels.compiled.graph import OPS, Node, Product, leaf_of


@dataclass(frozen=True)
class Store:
    """Result of a loop: a column that is stored in a buffer."""

    node: Node
    buffer: str
    offset: int
    width: int


class LoopSchedule:
    """One direction of a step: products and the loops between them, level by level.

    A level's products read what the loops below it have stored. A loop leaves what a later one
    needs in the buffer `saved_buffer`.

    Attributes:
        memory_level: Level of the matrix memory, above all that needs no buffer of `late`; None:
            there is none. It is unrolled over all of time between the levels below and the others.
    """

    def __init__(self, saved_buffer: str, late: tuple[str, ...] = ()) -> None:
        """Start without loops.

        Args:
            saved_buffer: Name of the buffer of what later loops need.
            late: Initials of the buffers that are filled when the memory has been unrolled.
        """
        self.saved_buffer, self.saved_size = saved_buffer, 0
        self.late = late
        self.memory_level: int | None = None
        self.sinks: list[Store] = []
        self.products: dict[str, Product] = {}
        self.saved: dict[Node, int] = {}  # offset in the saved buffer
        self.levels: dict[Node, int] = {}  # known levels: in a deep graph there are many paths

    def level(self, node: Node) -> int:
        """Return the level of the loop that can compute a node, once all products are known."""
        if node not in self.levels:
            product = self.products.get(leaf_of(node))
            if product is not None:
                self.levels[node] = self.product_level(product)
            elif self.memory_level is not None and leaf_of(node).startswith(self.late):
                self.levels[node] = self.memory_level
            else:
                below = max((self.level(arg) for arg in node.args), default=0)
                self.levels[node] = below + (node.op == "sum")
        return self.levels[node]

    def product_level(self, product: Product) -> int:
        """Return the level of a product: one above its inputs."""
        return 1 + max(self.level(column) for column in product.inputs)

    def store(
        self, columns: Iterable[Node], buffer: str, offset: int, widths: Iterable[int]
    ) -> None:
        """Store columns side by side in a buffer."""
        for node, width in zip(columns, widths, strict=True):
            self.sinks.append(Store(node, buffer, offset, width))
            offset += width

    def save(self, node: Node) -> int:
        """Return the offset of a node in the saved buffer; save it if it is not."""
        if node not in self.saved:
            self.saved[node] = self.saved_size
            self.saved_size += node.width
        return self.saved[node]

    def save_adjacent(self, columns: tuple[Node, ...]) -> int:
        """Return the offset of columns that are saved side by side."""
        start = self.saved_size
        for node in columns:
            self.sinks.append(Store(node, self.saved_buffer, self.saved_size, node.width))
            self.saved_size += node.width
        return start

    def plan(self) -> dict[tuple[int, int], list[Store]]:
        """Return (level, width) -> results of that loop; the first saves what later ones need."""
        loops: dict[tuple[int, int], list[Store]] = {}

        sums: list[Node] = []
        seen: set[Node] = set()
        todo = [sink.node for sink in self.sinks]
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += node.args
                if node.op == "sum":
                    sums.append(node)
        if self.late:
            self._find_memory_level(seen)
        for node in sums:
            (arg,) = node.args
            key = (self.level(arg), arg.width)
            loops.setdefault(key, []).append(Store(node, self.saved_buffer, self.save(node), 1))
        for sink in self.sinks:
            level = self.level(sink.node)
            if self.memory_level is not None and sink.buffer[0] == "e":
                level = max(level, self.memory_level)  # where the buffers a and e are exchanged
            loops.setdefault((level, sink.width), []).append(sink)
        for node, offset in self.saved.items():
            if node.op != "sum":
                level = self.level(node)
                sink = Store(node, self.saved_buffer, offset, node.width)
                loops.setdefault((level, node.width), []).append(sink)
        self._save_shared(loops)
        return dict(sorted(loops.items()))

    def _find_memory_level(self, nodes: set[Node]) -> None:
        """Set the level of the memory, which depends on `nodes` that do not depend on it."""
        late: dict[Node, bool] = {}

        def is_late(node: Node) -> bool:
            if node not in late:
                product = self.products.get(leaf_of(node))
                below = product.inputs if product else node.args
                late[node] = leaf_of(node).startswith(self.late) or any([*map(is_late, below)])
            return late[node]

        early = {node for node in nodes if not is_late(node)}
        early |= {c for p in self.products.values() for c in p.inputs if not is_late(c)}
        self.memory_level = 2 + max(map(self.level, early), default=0)

    def _save_shared(self, loops: dict[tuple[int, int], list[Store]]) -> None:
        """Save what is expensive and needed in several loops in the first of them."""
        users: dict[Node, set[tuple[int, int]]] = {}

        def visit(node: Node, key: tuple[int, int], seen: set[Node]) -> None:
            if node in seen or node.op in ("leaf", "const", "sum") or node in self.saved:
                return
            seen.add(node)
            if not OPS[node.op].recompute and node.width > 1:
                users.setdefault(node, set()).add(key)
            for arg in node.args:
                visit(arg, key, seen)

        for key, sinks in loops.items():
            seen: set[Node] = set()
            for sink in sinks:
                visit(sink.node.args[0] if sink.node.op == "sum" else sink.node, key, seen)
        for node, keys in users.items():
            if len(keys) > 1:
                first = (self.level(node), node.width)
                sink = Store(node, self.saved_buffer, self.save(node), node.width)
                loops.setdefault(first, []).append(sink)
