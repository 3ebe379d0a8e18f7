"""A traced step and its gradient as C: two functions that walk a whole text there and back."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from charlm.kernels.compiled.autodiff import ProductGradient, contiguous_slice, differentiate
from charlm.kernels.compiled.graph import OPS, Node, Product, leaf_of
from charlm.kernels.compiled.trace import TracedStep


@dataclass(frozen=True)
class Store:
    """What a loop is for: a column's numbers put somewhere."""

    node: Node
    buffer: str
    offset: int
    width: int


class LoopSchedule:
    """One direction of a step: products and the loops between them, level by level.

    A level's products read what the loops below it have put down. `stash` is the buffer where a
    loop leaves what a later one needs.
    """

    def __init__(self, stash: str) -> None:
        self.saved_buffer, self.room = stash, 0
        self.sinks: list[Store] = []
        self.products: dict[str, Product] = {}
        self.kept: dict[Node, int] = {}  # offset in the stash

    def level(self, node: Node) -> int:
        buffer = leaf_of(node)
        if buffer in self.products:
            return self.product_level(self.products[buffer])
        below = max((self.level(arg) for arg in node.args), default=0)
        return below + (node.op == "sum")

    def product_level(self, product: Product) -> int:
        return 1 + max(self.level(column) for column in product.inputs)

    def put(self, columns: Iterable[Node], buffer: str, offset: int, widths: Iterable[int]) -> None:
        for node, width in zip(columns, widths, strict=True):
            self.sinks.append(Store(node, buffer, offset, width))
            offset += width

    def keep(self, node: Node) -> int:
        """Where the node stands in the stash."""
        if node not in self.kept:
            self.kept[node] = self.room
            self.room += node.width
        return self.kept[node]

    def keep_together(self, columns: tuple[Node, ...]) -> int:
        """The same for columns that must stand side by side."""
        start = self.room
        for node in columns:
            self.sinks.append(Store(node, self.saved_buffer, self.room, node.width))
            self.room += node.width
        return start

    def plan(self) -> dict[tuple[int, int], list[Store]]:
        """(level, width) -> the sinks of that loop; what later loops need is kept by the first."""
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
        for node in sums:
            (arg,) = node.args
            key = (self.level(arg), arg.width)
            loops.setdefault(key, []).append(Store(node, self.saved_buffer, self.keep(node), 1))
        for sink in self.sinks:
            loops.setdefault((self.level(sink.node), sink.width), []).append(sink)
        for node, offset in self.kept.items():
            if node.op != "sum":
                level = self.level(node)
                sink = Store(node, self.saved_buffer, offset, node.width)
                loops.setdefault((level, node.width), []).append(sink)
        self._share(loops)
        return dict(sorted(loops.items()))

    def _share(self, loops: dict[tuple[int, int], list[Store]]) -> None:
        """What is dear and needed in several loops is kept by the first of them."""
        users: dict[Node, set[tuple[int, int]]] = {}

        def visit(node: Node, key: tuple[int, int], seen: set[Node]) -> None:
            if node in seen or node.op in ("leaf", "const", "sum") or node in self.kept:
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
                sink = Store(node, self.saved_buffer, self.keep(node), node.width)
                loops.setdefault(first, []).append(sink)


class WeightGradient(NamedTuple):
    """A product in the step whose weight gets its gradient from all of time at once."""

    weight: str
    blocks: tuple[int, ...]
    at: int  # its place in the deltas
    rows: int
    buffer: str  # where its input stands
    offset: int
    columns: int


@dataclass
class GeneratedCode:
    """The C text, and what its caller must know of the buffers."""

    text: str = ""
    inputs: int = 0  # width of x
    widths: tuple[int, ...] = ()  # of the state's parts
    vectors: list[str] = field(default_factory=list)  # weights of one dimension, in order
    matrices: list[str] = field(default_factory=list)
    stash: int = 0  # numbers kept for each character
    workspace_size: int = 0  # numbers for each row, for products, on either way
    packed: int = 0  # numbers of the matrices, packed, on either way
    scratch: int = 0  # numbers for each row, on the way back
    deltas: int = 0  # gradients of products, for each character
    input_gradient_is_deltas: bool = False  # whether the gradient of x is all of the deltas
    products: list[WeightGradient] = field(default_factory=list)


def generate_c(step: TracedStep, gradient_of: Callable[[str], bool]) -> GeneratedCode:
    """gradient_of: whether a vector of that name is learnt."""
    source = GeneratedCode(inputs=step.inputs, widths=step.widths)
    adjoint = differentiate(step)
    graph = step.graph
    there, back = LoopSchedule("v"), LoopSchedule("c")
    source.matrices = list(dict.fromkeys(p.weight for p in graph.products))
    vectors = {leaf_of(n)[2:] for n in graph.nodes.values() if leaf_of(n).startswith("w:")}
    source.vectors = sorted(vectors)

    # There: the new state, what products read, and (found below) what the way back needs.
    forwards = [p for p in graph.products if not p.backwards]
    there.products = {p.buffer: p for p in forwards}
    after: dict[Node, tuple[str, int]] = {}
    for k, columns in enumerate(step.after):
        widths = [c.width for c in columns]
        there.put(columns, f"n{k}", 0, widths)
        for column, at in zip(columns, accumulate(widths, initial=0), strict=False):
            if column.op not in ("leaf", "const"):
                after.setdefault(column, (f"n{k}", at))
    reads: dict[Product, tuple[str, int]] = {}
    for product in forwards:
        place = contiguous_slice(product.inputs)
        if place is None or not place[0].startswith("s"):
            place = ("v", there.keep_together(product.inputs))
        reads[product] = place

    # Back: nodes of the way there are kept, or computed again where that is cheap.
    memory: dict[Node, Node] = {}

    def again(node: Node) -> Node:
        if node in memory:
            return memory[node]
        own = node.index <= adjoint.last_forward_index
        if node.op == "const" or (node.op == "leaf" and not (own and leaf_of(node)[0] == "p")):
            new = node
        elif own and node in after:
            new = graph.leaf(*after[node], node.width)
        elif own and (node.op in ("leaf", "sum") or not OPS[node.op].recompute):
            new = graph.leaf("v", there.keep(node), node.width)
        elif node.op == "sum":
            new = graph.intern("sum", (again(node.args[0]),), 1)
        else:
            new = graph.of(node.op, *(again(arg) for arg in node.args))
        memory[node] = new
        return new

    pulled = [
        ProductGradient(p.product, tuple(again(g) for g in p.gradients), p.back, p.target)
        for p in adjoint.products
    ]
    for p in pulled:
        rewritten = Product(
            p.back.number, p.back.weight, p.gradients, p.back.rows, p.back.columns,
            p.back.blocks, True, p.back.index,
        )  # fmt: skip
        back.products[p.back.buffer] = rewritten
        widths = [c.width for c in graph.leaves(p.product.buffer, p.product.width)]
        back.put(p.gradients, "d", source.deltas, widths)
        source.products.append(
            WeightGradient(
                p.product.weight, p.product.blocks, source.deltas, p.product.rows,
                *reads[p.product], p.product.columns,
            )
        )  # fmt: skip
        source.deltas += p.product.rows

    of_x = graph.leaves("x", step.inputs)
    x_gradients = tuple(again(adjoint.leaves.get(leaf, graph.const(0))) for leaf in of_x)
    deltas = [g for p in pulled for g in p.gradients]
    source.input_gradient_is_deltas = list(x_gradients) == deltas
    back.put(x_gradients, "dx", 0, [leaf.width for leaf in of_x])
    for name in source.vectors:
        for leaf in (n for n in adjoint.leaves if leaf_of(n) == f"w:{name}"):
            if gradient_of(name):
                gradient = again(adjoint.leaves[leaf])
                back.put([gradient], f"dw:{name}", leaf.where[1], [leaf.width])
    whole: dict[
        int, ProductGradient
    ] = {}  # states whose gradient is begun by a product of their full width
    for k, width in enumerate(step.widths):
        leaves = graph.leaves(f"s{k}", width)
        gradients = [again(adjoint.leaves.get(leaf, graph.const(0))) for leaf in leaves]
        full = [p for p in pulled if p.target == (k, 0) and p.product.columns == width]
        if full and not any(leaf in adjoint.leaves for leaf in leaves):
            whole[k] = full[0]
        else:
            back.put(gradients, f"e{k}", 0, [leaf.width for leaf in leaves])

    text_there = _body(there, source, {p.buffer: (reads[p], None) for p in forwards}, set())
    places: dict[str, tuple[tuple[str, int], tuple[int, int] | None]] = {}
    first: set[str] = set()
    for p, record in zip(pulled, source.products, strict=True):
        places[p.back.buffer] = (("d", record.at), p.target)
        if p in whole.values():
            first.add(p.back.buffer)
    text_back = _body(back, source, places, first)
    source.stash, source.scratch = max(1, there.room), max(1, back.room)
    ways = (forwards, [p.back for p in pulled])
    source.workspace_size = max(1, *(sum(p.width for p in way) for way in ways))
    source.packed = max(sum(map(_packed, way)) for way in ways)
    source.text = _file(source, step, forwards, pulled, text_there, text_back)
    return source


def _row(buffer: str, source: GeneratedCode) -> str:
    """The C address of a buffer's row b at time t."""
    kind, rest = buffer[0], buffer[1:]
    if buffer in ("x", "dx"):
        return f"{buffer} + (look ? ids[t * B + b] : t * B + b) * {source.inputs}"
    if buffer == "v":
        return "v + t * keep + b * STASH"
    if buffer == "c":
        return "c + b * SCRATCH"
    if buffer == "d":
        return f"d + (t * B + b) * {source.deltas}"
    if buffer == "o":
        return f"o + (t * B + b) * {source.widths[0]}"
    if kind == "s":
        return f"h{rest} + (t * B + b) * {source.widths[int(rest)]}"
    if kind == "n":
        return f"h{rest} + ((t + 1) * B + b) * {source.widths[int(rest)]}"
    if kind in "ae":
        return f"{kind}{rest} + b * {source.widths[int(rest)]}"
    if kind == "p":
        return f"p{rest} + b * P{rest}"
    name = buffer.partition(":")[2]
    return f"{buffer.partition(':')[0]}{source.vectors.index(name)}"


def _c(buffer: str) -> str:
    """The C name of a row of a buffer."""
    return "r_" + "".join(c if c.isalnum() else f"_{ord(c)}_" for c in buffer)


def _loop(
    key: tuple[int, int], sinks: list[Store], loops: LoopSchedule, source: GeneratedCode
) -> list[str]:
    """One loop over the rows and the numbers of a column."""
    width = key[1]
    names: dict[Node, str] = {}
    lines: list[str] = []
    buffers: dict[str, None] = {}
    here = {
        s.node
        for s in sinks
        if s.buffer == loops.saved_buffer and loops.kept.get(s.node) == s.offset
    }

    def load(buffer: str, offset: int, wide: int) -> str:
        buffers[buffer] = None
        return f"{_c(buffer)}[{offset}{' + j' if wide > 1 else ''}]"

    def name(node: Node) -> str:
        if node in names:
            return names[node]
        if node.op == "const":
            return f"(real){node.where!r}"
        if node.op == "leaf":
            buffer, offset = node.where
            value = load(buffer, offset, node.width)
        elif node in loops.kept and node not in here:
            value = load(loops.saved_buffer, loops.kept[node], node.width)
        else:
            value = OPS[node.op].c.format(*(name(arg) for arg in node.args))
        kind = "int" if node.op in ("gt", "ge", "lt", "le", "eq") else "real"
        names[node] = f"t{len(names)}"
        lines.append(f"const {kind} {names[node]} = {value};")
        return names[node]

    sums: list[tuple[Store, str]] = []
    for sink in sinks:
        if sink.node.op == "sum" and sink.node in here:
            buffers[sink.buffer] = None
            sums.append((sink, name(sink.node.args[0])))
            lines.append(f"sum{len(sums)} += {sums[-1][1]};")
            continue
        value = name(sink.node)
        target = load(sink.buffer, sink.offset, sink.width)
        if sink.buffer == "dx":
            if source.input_gradient_is_deltas:
                lines.append(f"if (look) {target} += {value};")
            else:
                lines.append(f"if (look) {target} += {value}; else {target} = {value};")
        else:
            sign = "+=" if sink.buffer.startswith("dw:") else "="
            lines.append(f"{target} {sign} {value};")
    head = [f"real *const {_c(b)} = {_row(b, source)};" for b in buffers]
    totals = [f"sum{i + 1}" for i in range(len(sums))]
    reduction = f" reduction(+:{','.join(totals)})" if totals else ""
    return [
        "for (long b = 0; b < B; b++) {",
        *(f"  {line}" for line in head),
        *(f"  real {total} = 0;" for total in totals),
        *([f"  #pragma omp simd{reduction}"] if width > 1 else []),
        f"  for (int j = 0; j < {width}; j++) {{",
        *(f"    {line}" for line in lines),
        "  }",
        *(f"  {_c(sink.buffer)}[{sink.offset}] = sum{i + 1};" for i, (sink, _) in enumerate(sums)),
        "}",
    ]


def _body(
    loops: LoopSchedule,
    source: GeneratedCode,
    places: dict[str, tuple[tuple[str, int], tuple[int, int] | None]],
    first: set[str],
) -> list[str]:
    """One step: (level by level) products, then loops; those that add to a state's gradient last.

    places: of each product's buffer, where its input stands and which gradient it adds to.
    """
    plan = loops.plan()
    lines: list[str] = []
    last: list[str] = []
    levels = {level for level, _ in plan}
    levels |= {loops.product_level(p) for p in loops.products.values()}
    for level in sorted(levels):
        for product in loops.products.values():
            if loops.product_level(product) != level:
                continue
            (buffer, offset), target = places[product.buffer]
            call = _product(product, buffer, offset, target, product.buffer in first, source)
            (lines if target is None else last).append(call)
        for key, sinks in plan.items():
            if key[0] == level:
                lines += _loop(key, sinks, loops, source)
    last.sort(key=lambda line: " 0, e" not in line)  # those that begin a gradient come first
    return lines + last


def _product(
    product: Product,
    buffer: str,
    offset: int,
    target: tuple[int, int] | None,
    first: bool,
    source: GeneratedCode,
) -> str:
    weight = f"m{source.matrices.index(product.weight)}"
    strides = {"v": "STASH", "d": str(source.deltas)}
    stride = strides.get(buffer) or str(source.widths[int(buffer[1:])])
    base = _row(buffer, source).replace(" + b)", ")").replace(" + b *", " + 0 *")
    if target is None:
        out, out_stride, add = product.buffer, f"P{product.number}", "0"
    else:
        part, at = target
        out, out_stride = f"e{part} + {at}", str(source.widths[part])
        add = "0" if first else "1"
    kind, shape = _call(product)
    read = f"{weight}, k{product.number}, {base} + {offset}, {stride}"
    return f"{kind}(B, {shape}, {read}, {add}, {out}, {out_stride});"


def _packed(product: Product) -> int:
    """Numbers of its matrix in panels of at most 32 outputs, the last filled up."""
    if product.blocks:
        parts, heads, share = product.blocks
        return parts * heads * share * -(-share // 32) * 32
    inputs = product.rows + product.columns - product.width
    return inputs * -(-product.width // 32) * 32


def _call(product: Product) -> tuple[str, str]:
    """The C function of a product, and its first arguments."""
    kind = "back_" * product.backwards + "block_" * bool(product.blocks) + "product"
    return kind, ", ".join(map(str, product.blocks or (product.rows, product.columns)))


RUNTIME_SOURCE = Path(__file__).with_name("runtime.c")


def _file(
    source: GeneratedCode,
    step: TracedStep,
    forwards: list[Product],
    pulled: list[ProductGradient],
    there: list[str],
    back: list[str],
) -> str:
    """Both functions; their arguments stand in arrays, in the order of walk.py."""
    parts = range(len(step.widths))
    widths = [f"#define P{p.number} {p.width}" for p in forwards]
    widths += [f"#define P{p.back.number} {p.product.columns}" for p in pulled]

    def taken(array: str, names: Iterable[str], kind: str = "real *") -> list[str]:
        return [f"{kind}{name} = ({kind}){array}[{i}];" for i, name in enumerate(names)]

    def room(products: list[Product]) -> list[str]:
        """What each product gives at a time, and its matrix, packed once for all times."""
        lines, at = [], "room"
        for product in products:
            lines.append(f"real *p{product.number} = {at};")
            at = f"p{product.number} + B * P{product.number}"
        for product in products:
            lines.append(f"real *k{product.number} = {at};")
            kind, shape = _call(product)
            weight = f"m{source.matrices.index(product.weight)}"
            at = f"pack_{kind}(B, {shape}, {weight}, k{product.number})"
        return [*lines, f"{at};"] if products else []

    common = [
        *taken("states", (f"h{k}" for k in parts)),
        *taken("vectors", (f"w{i}" for i in range(len(source.vectors)))),
        *taken("matrices", (f"m{i}" for i in range(len(source.matrices)))),
    ]
    signature = (
        "long T, long B, const int64_t *ids, real *x, void **states, "
        "void **vectors, void **matrices, real *v, long keep, real *room"
    )
    names = "T, B, ids, x, states, vectors, matrices, v, keep, room"
    more = "real *o, real *d, real *dx, void **gradients, void **next, void **shares, real *c"
    more_names = "o, d, dx, gradients, next, shares, c"
    unused = "(void)ids; (void)vectors; (void)matrices; (void)v; (void)keep; (void)room;"
    lines = [
        RUNTIME_SOURCE.read_text(),
        *widths,
        f"#define STASH {source.stash}",
        f"#define SCRATCH {source.scratch}",
        f"INLINE void walk_there({signature}, const int look) {{",
        unused,
        *common,
        *room(forwards),
        "for (long t = 0; t < T; t++) {",
        *there,
        "}",
        "}",
        f"void there({signature}) {{",
        f"if (ids) walk_there({names}, 1); else walk_there({names}, 0);",
        "}",
        f"INLINE void walk_back({signature}, {more}, const int look) {{",
        unused + " (void)o; (void)d; (void)dx; (void)shares; (void)c;",
        *common,
        *taken("gradients", (f"a{k}" for k in parts)),
        *taken("next", (f"e{k}" for k in parts)),
        *taken("shares", (f"dw{i}" for i in range(len(source.vectors)))),
        *room([p.back for p in pulled]),
        "for (long t = T - 1; t >= 0; t--) {",
        *back,
        *(f"{{ real *swap = a{k}; a{k} = e{k}; e{k} = swap; }}" for k in parts),
        "}",
        "}",
        f"void back({signature}, {more}) {{",
        f"if (ids) walk_back({names}, {more_names}, 1); else walk_back({names}, {more_names}, 0);",
        "}",
        "",
    ]
    return "\n".join(lines)
