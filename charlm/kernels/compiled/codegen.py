"""C code of a traced step and its gradient: functions `forward` and `backward` over a sequence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from charlm.kernels.compiled.autodiff import ProductGradient, contiguous_slice, differentiate
from charlm.kernels.compiled.graph import OPS, Node, Product, leaf_of
from charlm.kernels.compiled.schedule import LoopSchedule, Store
from charlm.kernels.compiled.trace import TracedStep


class ProductUse(NamedTuple):
    """A product of the step, for the gradient of its weight over all time steps at once."""

    weight: str
    blocks: tuple[int, ...]
    delta_offset: int  # of the gradient of its output, in the deltas
    rows: int
    buffer: str  # holds its input
    offset: int
    columns: int


# Buffer and offset of a product's input; and the state part and offset whose gradient it adds to.
ProductLocation = tuple[tuple[str, int], tuple[int, int] | None]


@dataclass
class GeneratedCode:
    """The C text, and the sizes of the buffers that its caller allocates, in numbers."""

    text: str = ""
    inputs: int = 0  # width of x
    widths: tuple[int, ...] = ()  # of the parts of the state
    vectors: list[str] = field(default_factory=list)  # names of 1-d weights, in order
    matrices: list[str] = field(default_factory=list)
    saved_size: int = 0  # saved for the backward pass, per time step and row
    workspace_size: int = 0  # outputs of products, per row, of either pass
    packed: int = 0  # packed matrices, of either pass
    scratch: int = 0  # of the backward pass, per row
    deltas: int = 0  # gradients of products, per time step and row
    input_gradient_is_deltas: bool = False  # whether the gradient of x equals the deltas
    products: list[ProductUse] = field(default_factory=list)


def generate_c(step: TracedStep, needs_gradient: Callable[[str], bool]) -> GeneratedCode:
    """Generate the C of a traced step.

    Args:
        step: The traced step.
        needs_gradient: Returns whether the vector of a name is a parameter.
    """
    source = GeneratedCode(inputs=step.inputs, widths=step.widths)
    adjoint = differentiate(step)
    graph = step.graph
    forward, backward = LoopSchedule("v"), LoopSchedule("c")
    source.matrices = list(dict.fromkeys(p.weight for p in graph.products))
    vectors = {leaf_of(n)[2:] for n in graph.nodes.values() if leaf_of(n).startswith("w:")}
    source.vectors = sorted(vectors)

    # Forward: the next state, what products read, and (added below) what backward loads.
    forwards = [p for p in graph.products if not p.backwards]
    forward.products = {p.buffer: p for p in forwards}
    after: dict[Node, tuple[str, int]] = {}
    for k, columns in enumerate(step.after):
        widths = [c.width for c in columns]
        forward.store(columns, f"n{k}", 0, widths)
        for column, at in zip(columns, accumulate(widths, initial=0), strict=False):
            if column.op not in ("leaf", "const"):
                after.setdefault(column, (f"n{k}", at))
    reads: dict[Product, tuple[str, int]] = {}
    for product in forwards:
        location = contiguous_slice(product.inputs)
        if location is None or not location[0].startswith("s"):
            location = ("v", forward.save_adjacent(product.inputs))
        reads[product] = location

    # Backward: nodes of the forward pass are loaded, or recomputed if that is cheap.
    available: dict[Node, Node] = {}

    def reload(node: Node) -> Node:
        if node in available:
            return available[node]
        is_forward = node.index <= adjoint.last_forward_index
        if node.op == "const" or (
            node.op == "leaf" and not (is_forward and leaf_of(node)[0] == "p")
        ):
            new = node
        elif is_forward and node in after:
            new = graph.leaf(*after[node], node.width)
        elif is_forward and (node.op in ("leaf", "sum") or not OPS[node.op].recompute):
            new = graph.leaf("v", forward.save(node), node.width)
        elif node.op == "sum":
            new = graph.intern("sum", (reload(node.args[0]),), 1)
        else:
            new = graph.of(node.op, *(reload(arg) for arg in node.args))
        available[node] = new
        return new

    gradients_of_products = [
        ProductGradient(p.product, tuple(reload(g) for g in p.gradients), p.back, p.target)
        for p in adjoint.products
    ]
    for p in gradients_of_products:
        rewritten = Product(
            p.back.number, p.back.weight, p.gradients, p.back.rows, p.back.columns,
            p.back.blocks, True, p.back.index,
        )  # fmt: skip
        backward.products[p.back.buffer] = rewritten
        widths = [c.width for c in graph.leaves(p.product.buffer, p.product.width)]
        backward.store(p.gradients, "d", source.deltas, widths)
        source.products.append(
            ProductUse(
                p.product.weight, p.product.blocks, source.deltas, p.product.rows,
                *reads[p.product], p.product.columns,
            )
        )  # fmt: skip
        source.deltas += p.product.rows

    of_x = graph.leaves("x", step.inputs)
    x_gradients = tuple(reload(adjoint.leaves.get(leaf, graph.const(0))) for leaf in of_x)
    deltas = [g for p in gradients_of_products for g in p.gradients]
    source.input_gradient_is_deltas = list(x_gradients) == deltas
    backward.store(x_gradients, "dx", 0, [leaf.width for leaf in of_x])
    for name in source.vectors:
        for leaf in (n for n in adjoint.leaves if leaf_of(n) == f"w:{name}"):
            if needs_gradient(name):
                gradient = reload(adjoint.leaves[leaf])
                backward.store([gradient], f"dw:{name}", leaf.where[1], [leaf.width])
    # State parts whose gradient starts as a product of their full width.
    initialized_by: dict[int, ProductGradient] = {}
    for k, width in enumerate(step.widths):
        leaves = graph.leaves(f"s{k}", width)
        gradients = [reload(adjoint.leaves.get(leaf, graph.const(0))) for leaf in leaves]
        full = [
            p for p in gradients_of_products if p.target == (k, 0) and p.product.columns == width
        ]
        if full and not any(leaf in adjoint.leaves for leaf in leaves):
            initialized_by[k] = full[0]
        else:
            backward.store(gradients, f"e{k}", 0, [leaf.width for leaf in leaves])

    forward_text = _body(forward, source, {p.buffer: (reads[p], None) for p in forwards}, set())
    locations: dict[str, ProductLocation] = {}
    first: set[str] = set()
    for p, use in zip(gradients_of_products, source.products, strict=True):
        locations[p.back.buffer] = (("d", use.delta_offset), p.target)
        if p in initialized_by.values():
            first.add(p.back.buffer)
    backward_text = _body(backward, source, locations, first)
    source.saved_size = max(1, forward.saved_size)
    source.scratch = max(1, backward.saved_size)
    passes = (forwards, [p.back for p in gradients_of_products])
    source.workspace_size = max(1, *(sum(p.width for p in products) for products in passes))
    source.packed = max(sum(map(_packed, products)) for products in passes)
    source.text = _file(source, step, forwards, gradients_of_products, forward_text, backward_text)
    return source


def _row(buffer: str, source: GeneratedCode) -> str:
    """Return the C address of a buffer's row b at time t."""
    kind, rest = buffer[0], buffer[1:]
    if buffer in ("x", "dx"):
        return f"{buffer} + (indexed ? ids[t * B + b] : t * B + b) * {source.inputs}"
    if buffer == "v":
        return "v + t * saved_stride + b * SAVED"
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
    """Return the C name of a row of a buffer."""
    return "r_" + "".join(c if c.isalnum() else f"_{ord(c)}_" for c in buffer)


def _loop(
    key: tuple[int, int], sinks: list[Store], loops: LoopSchedule, source: GeneratedCode
) -> list[str]:
    """Return the lines of one loop over the rows and the numbers of a column."""
    width = key[1]
    names: dict[Node, str] = {}
    lines: list[str] = []
    buffers: dict[str, None] = {}
    saved_here = {
        s.node
        for s in sinks
        if s.buffer == loops.saved_buffer and loops.saved.get(s.node) == s.offset
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
        elif node in loops.saved and node not in saved_here:
            value = load(loops.saved_buffer, loops.saved[node], node.width)
        else:
            value = OPS[node.op].c.format(*(name(arg) for arg in node.args))
        kind = "int" if node.op in ("gt", "ge", "lt", "le", "eq") else "real"
        names[node] = f"t{len(names)}"
        lines.append(f"const {kind} {names[node]} = {value};")
        return names[node]

    sums: list[tuple[Store, str]] = []
    for sink in sinks:
        if sink.node.op == "sum" and sink.node in saved_here:
            buffers[sink.buffer] = None
            sums.append((sink, name(sink.node.args[0])))
            lines.append(f"sum{len(sums)} += {sums[-1][1]};")
            continue
        value = name(sink.node)
        target = load(sink.buffer, sink.offset, sink.width)
        if sink.buffer == "dx":
            if source.input_gradient_is_deltas:
                lines.append(f"if (indexed) {target} += {value};")
            else:
                lines.append(f"if (indexed) {target} += {value}; else {target} = {value};")
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
    locations: dict[str, ProductLocation],
    first: set[str],
) -> list[str]:
    """Return the lines of one step: level by level products, then loops.

    Products that add to a state's gradient come last; `first` are those that initialize it.
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
            (buffer, offset), target = locations[product.buffer]
            call = _product(product, buffer, offset, target, product.buffer in first, source)
            (lines if target is None else last).append(call)
        for key, sinks in plan.items():
            if key[0] == level:
                lines += _loop(key, sinks, loops, source)
    last.sort(key=lambda line: " 0, e" not in line)  # those that initialize a gradient first
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
    strides = {"v": "SAVED", "d": str(source.deltas)}
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
    """Return the size of a packed matrix: panels of at most 32 outputs, the last one padded."""
    if product.blocks:
        parts, heads, head_size = product.blocks
        return parts * heads * head_size * -(-head_size // 32) * 32
    inputs = product.rows + product.columns - product.width
    return inputs * -(-product.width // 32) * 32


def _call(product: Product) -> tuple[str, str]:
    """Return the C function of a product, and its first arguments."""
    kind = "back_" * product.backwards + "block_" * bool(product.blocks) + "product"
    return kind, ", ".join(map(str, product.blocks or (product.rows, product.columns)))


RUNTIME_SOURCE = Path(__file__).with_name("runtime.c")


def _file(
    source: GeneratedCode,
    step: TracedStep,
    forwards: list[Product],
    gradients_of_products: list[ProductGradient],
    forward: list[str],
    backward: list[str],
) -> str:
    """Return the file with both functions; runtime.py passes their arguments in this order."""
    parts = range(len(step.widths))
    widths = [f"#define P{p.number} {p.width}" for p in forwards]
    widths += [f"#define P{p.back.number} {p.product.columns}" for p in gradients_of_products]

    def unpack(array: str, names: Iterable[str], kind: str = "real *") -> list[str]:
        return [f"{kind}{name} = ({kind}){array}[{i}];" for i, name in enumerate(names)]

    def workspace(products: list[Product]) -> list[str]:
        """Return the lines that lay out the products' outputs and pack their matrices once."""
        lines, at = [], "workspace"
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
        *unpack("states", (f"h{k}" for k in parts)),
        *unpack("vectors", (f"w{i}" for i in range(len(source.vectors)))),
        *unpack("matrices", (f"m{i}" for i in range(len(source.matrices)))),
    ]
    signature = (
        "long T, long B, const int64_t *ids, real *x, void **states, "
        "void **vectors, void **matrices, real *v, long saved_stride, real *workspace"
    )
    names = "T, B, ids, x, states, vectors, matrices, v, saved_stride, workspace"
    more = "real *o, real *d, real *dx, void **gradients, void **next, void **grad_vectors, real *c"
    more_names = "o, d, dx, gradients, next, grad_vectors, c"
    unused = (
        "(void)ids; (void)vectors; (void)matrices; (void)v; (void)saved_stride; (void)workspace;"
    )
    lines = [
        RUNTIME_SOURCE.read_text(),
        *widths,
        f"#define SAVED {source.saved_size}",
        f"#define SCRATCH {source.scratch}",
        f"INLINE void unroll_forward({signature}, const int indexed) {{",
        unused,
        *common,
        *workspace(forwards),
        "for (long t = 0; t < T; t++) {",
        *forward,
        "}",
        "}",
        f"void forward({signature}) {{",
        f"if (ids) unroll_forward({names}, 1); else unroll_forward({names}, 0);",
        "}",
        f"INLINE void unroll_backward({signature}, {more}, const int indexed) {{",
        unused + " (void)o; (void)d; (void)dx; (void)grad_vectors; (void)c;",
        *common,
        *unpack("gradients", (f"a{k}" for k in parts)),
        *unpack("next", (f"e{k}" for k in parts)),
        *unpack("grad_vectors", (f"dw{i}" for i in range(len(source.vectors)))),
        *workspace([p.back for p in gradients_of_products]),
        "for (long t = T - 1; t >= 0; t--) {",
        *backward,
        *(f"{{ real *swap = a{k}; a{k} = e{k}; e{k} = swap; }}" for k in parts),
        "}",
        "}",
        f"void backward({signature}, {more}) {{",
        f"if (ids) unroll_backward({names}, {more_names}, 1);",
        f"else unroll_backward({names}, {more_names}, 0);",
        "}",
        "",
    ]
    return "\n".join(lines)
