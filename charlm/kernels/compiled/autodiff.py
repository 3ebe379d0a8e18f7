"""Reverse-mode differentiation of a traced step, on its graph."""

from dataclasses import dataclass
from itertools import accumulate

from charlm.kernels.compiled.graph import OPS, Graph, Node, Product, leaf_of
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
    state) and o (gradient of the output, from the layer above).
    """

    last_forward_index: int  # nodes up to this index belong to the step
    leaves: dict[Node, Node]
    products: list[ProductGradient]


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
            if k == 0:
                gradient = gradient + graph.leaf("o", at, column.width)
            accumulate_gradient(column, gradient, column.width)

    products: list[ProductGradient] = []
    for item in sorted(items, key=lambda item: item.index, reverse=True):
        if isinstance(item, Product):
            outputs = graph.leaves(item.buffer, item.width)
            gradients = tuple(gradient_of.get(leaf, graph.const(0, leaf.width)) for leaf in outputs)
            if any(leaf in gradient_of for leaf in outputs):
                products.append(_differentiate_product(graph, item, gradients))
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
    return Adjoint(mark, {n: g for n, g in gradient_of.items() if n.op == "leaf"}, products)


def _differentiate_product(
    graph: Graph, product: Product, gradients: tuple[Node, ...]
) -> ProductGradient:
    location = contiguous_slice(product.inputs)
    buffer = f"p{len(graph.products)}"
    graph.cuts[buffer] = set(accumulate(column.width for column in product.inputs))
    back = graph.product(
        product.weight, gradients, product.rows, product.columns, product.blocks, backwards=True
    )
    is_state = location is not None and location[0].startswith("s")
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
