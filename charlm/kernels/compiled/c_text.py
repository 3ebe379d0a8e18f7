"""C text of a step: its loops and products, level by level."""

from charlm.kernels.compiled.graph import OPS, Node, Product
from charlm.kernels.compiled.layout import GeneratedCode, ProductLocation, row_address, row_name
from charlm.kernels.compiled.schedule import LoopSchedule, Store


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
        return f"{row_name(buffer)}[{offset}{' + j' if wide > 1 else ''}]"

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
    head = [f"real *const {row_name(b)} = {row_address(b, source)};" for b in buffers]
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
        *(
            f"  {row_name(sink.buffer)}[{sink.offset}] = sum{i + 1};"
            for i, (sink, _) in enumerate(sums)
        ),
        "}",
    ]


def step_body(
    loops: LoopSchedule,
    source: GeneratedCode,
    locations: dict[str, ProductLocation],
    first: set[str],
) -> tuple[list[str], list[str]]:
    """Return the lines of one step before and after its memory.

    Level by level there are products, then loops. Without a memory all lines come before. Products
    that add to a state's gradient come last; `first` are those that initialize it.
    """
    plan = loops.plan()
    before: list[str] = []
    after: list[str] = []
    last: list[str] = []
    levels = {level for level, _ in plan}
    levels |= {loops.product_level(p) for p in loops.products.values()}
    for level in sorted(levels):
        lines = before if loops.memory_level is None or level < loops.memory_level else after
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
    return before + last, after


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
    base = row_address(buffer, source).replace(" + b)", ")").replace(" + b *", " + 0 *")
    if target is None:
        out, out_stride, add = product.buffer, f"P{product.number}", "0"
        if source.memory_part is not None:
            out += f" + t * B * P{product.number}"
    else:
        part, at = target
        out, out_stride = f"e{part} + {at}", str(source.widths[part])
        add = "0" if first else "1"
    kind, shape = product_call(product)
    read = f"{weight}, k{product.number}, {base} + {offset}, {stride}"
    return f"{kind}(B, {shape}, {read}, {add}, {out}, {out_stride});"


def packed_size(product: Product) -> int:
    """Return the size of a packed matrix: panels of at most 32 outputs, the last one padded."""
    if product.blocks:
        parts, heads, head_size = product.blocks
        return parts * heads * head_size * -(-head_size // 32) * 32
    inputs = product.rows + product.columns - product.width
    return inputs * -(-product.width // 32) * 32


def product_call(product: Product) -> tuple[str, str]:
    """Return the C function of a product, and its first arguments."""
    kind = "back_" * product.backwards + "block_" * bool(product.blocks) + "product"
    return kind, ", ".join(map(str, product.blocks or (product.rows, product.columns)))
