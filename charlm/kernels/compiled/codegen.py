"""Code generation: which columns of a traced step are stored where, forwards and backwards."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from charlm.kernels.compiled.autodiff import ProductGradient, contiguous_slice, differentiate
from charlm.kernels.compiled.c_file import MemoryFunctions, single_token_file, unroll_file
from charlm.kernels.compiled.c_text import packed_size, step_body
from charlm.kernels.compiled.graph import OPS, Node, Product, UnsupportedOperation, leaf_of
from charlm.kernels.compiled.layout import GeneratedCode, ProductLocation, ProductUse
from charlm.kernels.compiled.memory import GRADIENTS, READS
from charlm.kernels.compiled.memory_back_c import MemoryText
from charlm.kernels.compiled.memory_c import scratch_size
from charlm.kernels.compiled.schedule import LoopSchedule
from charlm.kernels.compiled.trace import TracedStep


@dataclass(frozen=True)
class ForwardPlan:
    """Loops and products of the forward pass.

    reads: Where the input of each product is.
    after: Where the nodes of the next state are stored.
    """

    loops: LoopSchedule
    products: list[Product]
    reads: dict[Product, tuple[str, int]]
    after: dict[Node, tuple[str, int]]
    memory_inputs: int = 0  # where they are saved

    def body(self, source: GeneratedCode) -> tuple[list[str], list[str]]:
        """Return the C of a step, before and after the memory.

        Only then it is known what the loops save.
        """
        locations: dict[str, ProductLocation] = {
            p.buffer: (self.reads[p], None) for p in self.products
        }
        lines = step_body(self.loops, source, locations, set())
        source.saved_size = max(1, self.loops.saved_size)
        return lines


def _plan_forward(step: TracedStep) -> ForwardPlan:
    """Store the next state, and what products and the memory read."""
    loops = LoopSchedule("v", (READS,) if step.memory else ())
    products = [p for p in step.graph.products if not p.backwards]
    loops.products = {p.buffer: p for p in products}
    after: dict[Node, tuple[str, int]] = {}
    for k, columns in enumerate(step.after):
        widths = [c.width for c in columns]
        loops.store(columns, f"n{k}", 0, widths)
        for column, at in zip(columns, accumulate(widths, initial=0), strict=False):
            if column.op not in ("leaf", "const"):
                after.setdefault(column, (f"n{k}", at))
    reads: dict[Product, tuple[str, int]] = {}
    for product in products:
        location = contiguous_slice(product.inputs)
        if location is None or not location[0].startswith("s"):
            location = ("v", loops.save_adjacent(product.inputs))
        reads[product] = location
    memory_inputs = loops.save_adjacent(step.memory.inputs) if step.memory else 0
    return ForwardPlan(loops, products, reads, after, memory_inputs)


def _start_source(step: TracedStep) -> GeneratedCode:
    """Return the sizes of inputs and states, and the names of the weights that the step reads."""
    graph = step.graph
    leaves = {leaf_of(n) for n in graph.nodes.values()}
    vectors = sorted(leaf[2:] for leaf in leaves if leaf.startswith("w:"))
    matrices = list(dict.fromkeys(p.weight for p in graph.products))
    return GeneratedCode(
        inputs=step.inputs,
        widths=step.widths,
        vectors=vectors,
        matrices=matrices,
        vector_shapes=[step.shapes[name] for name in vectors],
        matrix_shapes=[step.shapes[name] for name in matrices],
        state_dims=step.state_dims or tuple((width,) for width in step.widths),
        memory_part=step.memory.part if step.memory else None,
        memory_scratch=scratch_size(step.memory) if step.memory else 0,
    )


def generate_single_token(step: TracedStep) -> GeneratedCode:
    """Generate the C of a traced step for one token of one stream, without its gradient.

    Raises:
        UnsupportedOperation: The state has a matrix, which is unrolled over many tokens.
    """
    if step.memory:
        raise UnsupportedOperation(
            "its state holds a matrix for each head, which is compiled for whole windows only"
        )
    source = _start_source(step)
    plan = _plan_forward(step)
    body, _ = plan.body(source)
    source.workspace_size = max(1, sum(p.width for p in plan.products))
    source.text = single_token_file(source, plan.products, body)
    return source


def generate_c(step: TracedStep, needs_gradient: Callable[[str], bool]) -> GeneratedCode:
    """Generate the C of a traced step.

    Args:
        step: The traced step.
        needs_gradient: Returns whether the vector of a name is a parameter.
    """
    adjoint = differentiate(step)
    graph = step.graph
    source, plan = _start_source(step), _plan_forward(step)
    forward, backward = plan.loops, LoopSchedule("c", (GRADIENTS, "a") if step.memory else ())

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
        elif is_forward and node in plan.after:
            new = graph.leaf(*plan.after[node], node.width)
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
                *plan.reads[p.product], p.product.columns,
            )
        )  # fmt: skip
        source.deltas += p.product.rows

    gradients_of_reads = backward.save_adjacent(tuple(reload(g) for g in adjoint.reads))
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
        if step.memory and k in (0, step.memory.part):  # no step needs s0; the memory does its own
            continue
        leaves = graph.leaves(f"s{k}", width)
        gradients = [reload(adjoint.leaves.get(leaf, graph.const(0))) for leaf in leaves]
        full = [
            p for p in gradients_of_products if p.target == (k, 0) and p.product.columns == width
        ]
        if full and not any(leaf in adjoint.leaves for leaf in leaves):
            initialized_by[k] = full[0]
        else:
            backward.store(gradients, f"e{k}", 0, [leaf.width for leaf in leaves])

    forward_text = plan.body(source)
    locations: dict[str, ProductLocation] = {}
    first: set[str] = set()
    for p, use in zip(gradients_of_products, source.products, strict=True):
        locations[p.back.buffer] = (("d", use.delta_offset), p.target)
        if p in initialized_by.values():
            first.add(p.back.buffer)
    backward_text = step_body(backward, source, locations, first)
    source.scratch = max(1, backward.saved_size)
    memory_text: MemoryFunctions | None = None
    if step.memory:
        text, sizes = MemoryText(step.memory), (forward.saved_size, backward.saved_size)
        source.saved_size += step.memory.reads_size
        source.scratch += sum(column.width for column in step.memory.inputs)
        memory_text = MemoryFunctions(
            [
                *text.defines(),
                f"#define READS_AT {sizes[0]}",
                f"#define GRADIENTS_AT {sizes[1]}",
            ],
            [
                *text.forward(plan.memory_inputs),
                *text.backward(plan.memory_inputs, gradients_of_reads),
            ],
        )
    passes = (plan.products, [p.back for p in gradients_of_products])
    source.workspace_size = max(1, *(sum(p.width for p in products) for products in passes))
    source.packed = max(sum(map(packed_size, products)) for products in passes)
    source.text = unroll_file(
        source, step, plan.products, gradients_of_products, forward_text, backward_text,
        memory_text,
    )  # fmt: skip
    return source
