"""The gradient of a traced step: reverse-mode differentiation, once, on the graph itself."""

from dataclasses import dataclass
from itertools import accumulate

from charlm.kernels.compiled.graph import OPS, Graph, Node, Product, leaf_of
from charlm.kernels.compiled.trace import TracedStep


@dataclass(frozen=True)
class ProductGradient:
    """What of a step's products is needed on the way back.

    gradients: of the product's output, column by column. target: the state (part, offset) whose
    gradient the transposed product is added to as it is; else its columns appear in the graph.
    """

    product: Product
    gradients: tuple[Node, ...]
    back: Product
    target: tuple[int, int] | None


@dataclass(frozen=True)
class Adjoint:
    """Gradients of a step's leaves as columns of its own graph, made of the leaves a0, a1 … (the
    gradients of the state after), o (that of the output, from above) and the step's nodes."""

    last_forward_index: int  # nodes up to this one are the step's own
    leaves: dict[Node, Node]
    products: list[ProductGradient]


def differentiate(step: TracedStep) -> Adjoint:
    """o and a0, a1 … -> the gradients of x, of the state before, of vectors and of products."""
    graph = step.graph
    found: dict[Node, Node] = {}
    forwards = list(graph.products)
    items: list[Node | Product] = [*graph.nodes.values(), *forwards]
    mark = graph.counted

    def give(node: Node, gradient: Node | None, width: int) -> None:
        """width: of what the node was combined with; a column of one number is shared by it."""
        if gradient is None or node.op == "const" or graph.is_zero(gradient):
            return
        if node.width == 1 and width > 1:
            wide = gradient.width > 1
            gradient = graph.row_sum((gradient,)) if wide else gradient * float(width)
        found[node] = found[node] + gradient if node in found else gradient

    for k, columns in enumerate(step.after):
        ends = accumulate((c.width for c in columns), initial=0)
        for column, at in zip(columns, ends, strict=False):
            above = graph.leaf(f"a{k}", at, column.width)
            if k == 0:
                above = above + graph.leaf("o", at, column.width)
            give(column, above, column.width)

    products: list[ProductGradient] = []
    for item in sorted(items, key=lambda item: item.index, reverse=True):
        if isinstance(item, Product):
            outputs = graph.leaves(item.buffer, item.width)
            gradients = tuple(found.get(leaf, graph.const(0, leaf.width)) for leaf in outputs)
            if any(leaf in found for leaf in outputs):
                products.append(_back(graph, item, gradients))
                if products[-1].target is None:
                    backs = graph.leaves(products[-1].back.buffer, item.columns)
                    for column, gradient in zip(item.inputs, backs, strict=True):
                        give(column, gradient, column.width)
        elif item in found and item.args:
            if item.op == "sum":
                give(item.args[0], found[item], item.args[0].width)
            else:
                given = OPS[item.op].vjp(found[item], item, *item.args)
                for arg, share in zip(item.args, given, strict=True):
                    give(arg, share, item.width)
    return Adjoint(mark, {n: g for n, g in found.items() if n.op == "leaf"}, products)


def _back(graph: Graph, product: Product, gradients: tuple[Node, ...]) -> ProductGradient:
    place = contiguous_slice(product.inputs)
    direct = place is not None and place[0].startswith("s")
    buffer = f"p{len(graph.products)}"
    graph.cuts[buffer] = set(accumulate(column.width for column in product.inputs))
    back = graph.product(
        product.weight, gradients, product.rows, product.columns, product.blocks, backwards=True
    )
    target = (int(place[0][1:]), place[1]) if place and direct else None
    return ProductGradient(product, gradients, back, target)


def contiguous_slice(columns: tuple[Node, ...]) -> tuple[str, int] | None:
    """(buffer, offset) where these columns already stand side by side, or None."""
    buffer = leaf_of(columns[0])
    if not buffer:
        return None
    at = start = columns[0].where[1]
    for column in columns:
        if leaf_of(column) != buffer or column.where[1] != at:
            return None
        at += column.width
    return buffer, start
