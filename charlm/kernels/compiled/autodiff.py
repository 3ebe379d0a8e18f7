"""Reverse-mode differentiation of a traced step, on its graph."""

from dataclasses import dataclass
from itertools import accumulate

from charlm.kernels.compiled.graph import OPS, Node, Product, leaf_of
from charlm.kernels.compiled.memory import GRADIENTS, READS, Memory
from charlm.kernels.compiled.trace import TracedStep


@dataclass(frozen=True)
class ProductGradient:
    """Gradient of a product of the step.

    gradients: Of the product's output, column by column.
    target: The state (part, offset) whose gradient the transposed product is added to directly;
        None: the columns of the transposed product appear in the graph.
    """

    product: Product
    gradients: tuple[Node, ...]
    back: Product
    target: tuple[int, int] | None


@dataclass(frozen=True)
class Adjoint:
    """Gradients of a step's leaves, as columns of the step's graph.

    They are computed from the step's nodes and further leaves: a0, a1, ... (gradients of the next
    state), o (gradient of the output, from the layer above) and g (of what a memory is given).

    Attributes:
        reads: Gradients of what the memory reads, column by column.
    """

    last_forward_index: int  # nodes up to this index belong to the step
    leaves: dict[Node, Node]
    products: list[ProductGradient]
    reads: tuple[Node, ...] = ()


def differentiate(step: TracedStep) -> Adjoint:
    """Return the gradients of x, of the previous state, of vectors and of products."""
    graph = step.graph
    gradient_of: dict[Node, Node] = {}
    forwards = list(graph.products)
    items: list[Node | Product] = [*graph.nodes.values(), *forwards]
    mark = graph.counted

    def accumulate_gradient(node: Node, gradient: Node | None, width: int) -> None:
        """Add to a node's gradient; `width`: of the columns that it was combined with."""
        if gradient is None or node.op == "const" or graph.is_zero(gradient):
            return
        if node.width == 1 and width > 1:
            wide = gradient.width > 1
            gradient = graph.row_sum((gradient,)) if wide else gradient * float(width)
        known = gradient_of.get(node)
        gradient_of[node] = gradient if known is None else known + gradient

    for k, columns in enumerate(step.after):
        ends = accumulate((c.width for c in columns), initial=0)
        for column, at in zip(columns, ends, strict=False):
            gradient = graph.leaf(f"a{k}", at, column.width)
            if k == 0 and step.memory:  # the caller adds a0 to the last o: no step needs s0
                gradient = graph.leaf("o", at, column.width)
            elif k == 0:
                gradient = gradient + graph.leaf("o", at, column.width)
            accumulate_gradient(column, gradient, column.width)

    products: list[ProductGradient] = []
    reads: tuple[Node, ...] = ()
    for item in _backwards(items, step.memory):
        if isinstance(item, Memory):
            reads = tuple(
                gradient_of.get(column, graph.const(0.0, column.width))
                for number in range(len(item.reads))
                for head in range(item.heads)
                for column in item.read_columns(number, head)
            )
            ends = accumulate((column.width for column in item.inputs), initial=0)
            for column, at in zip(item.inputs, ends, strict=False):
                gradient = graph.leaf(GRADIENTS, at, column.width)
                accumulate_gradient(column, gradient, column.width)
        elif isinstance(item, Product):
            outputs = graph.leaves(item.buffer, item.width)
            gradients = tuple(gradient_of.get(leaf, graph.const(0, leaf.width)) for leaf in outputs)
            if any(leaf in gradient_of for leaf in outputs):
                products.append(_differentiate_product(step, item, gradients))
                if products[-1].target is None:
                    backs = graph.leaves(products[-1].back.buffer, item.columns)
                    for column, gradient in zip(item.inputs, backs, strict=True):
                        accumulate_gradient(column, gradient, column.width)
        elif item in gradient_of and item.args:
            if item.op == "sum":
                accumulate_gradient(item.args[0], gradient_of[item], item.args[0].width)
            else:
                gradients_of_args = OPS[item.op].vjp(gradient_of[item], item, *item.args)
                for arg, part in zip(item.args, gradients_of_args, strict=True):
                    accumulate_gradient(arg, part, item.width)
    leaves = {n: g for n, g in gradient_of.items() if n.op == "leaf" and leaf_of(n) != READS}
    return Adjoint(mark, leaves, products, reads)


def _backwards(items: list[Node | Product], memory: Memory | None) -> list[Node | Product | Memory]:
    """Return nodes and products, each after all that is computed from it."""
    ordered = sorted(items, key=lambda item: item.index, reverse=True)
    if memory is None:
        return [*ordered]
    late = [
        item
        for item in ordered
        if any(map(memory.depends_on_reads, item.inputs if isinstance(item, Product) else [item]))
    ]
    known = {*late}
    return [*late, memory, *(item for item in ordered if item not in known)]


def _differentiate_product(
    step: TracedStep, product: Product, gradients: tuple[Node, ...]
) -> ProductGradient:
    graph = step.graph
    location = contiguous_slice(product.inputs)
    buffer = f"p{len(graph.products)}"
    graph.cuts[buffer] = set(accumulate(column.width for column in product.inputs))
    back = graph.product(
        product.weight, gradients, product.rows, product.columns, product.blocks, backwards=True
    )
    is_state = location is not None and location[0].startswith("s") and not step.memory
    target = (int(location[0][1:]), location[1]) if location and is_state else None
    return ProductGradient(product, gradients, back, target)


def contiguous_slice(columns: tuple[Node, ...]) -> tuple[str, int] | None:
    """Return (buffer, offset) if these columns are adjacent in a buffer, else None."""
    buffer = leaf_of(columns[0])
    if not buffer:
        return None
    at = start = columns[0].where[1]
    for column in columns:
        if leaf_of(column) != buffer or column.where[1] != at:
            return None
        at += column.width
    return buffer, start
