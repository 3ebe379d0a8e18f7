"""C files around the text of a step: functions over a sequence, or for a single token."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from charlm.kernels.compiled.autodiff import ProductGradient
from charlm.kernels.compiled.c_text import product_call
from charlm.kernels.compiled.graph import Product
from charlm.kernels.compiled.layout import GeneratedCode
from charlm.kernels.compiled.trace import TracedStep

RUNTIME_SOURCE = Path(__file__).with_name("runtime.c")
MEMORY_SOURCE = Path(__file__).with_name("memory.c")
ARRAYS = "real *x, void **states, void **vectors, void **matrices, real *v, real *workspace"
UNUSED = "(void)vectors; (void)matrices; (void)v; (void)workspace;"


def _unpack(array: str, names: Iterable[str], kind: str = "real *") -> list[str]:
    """Return the lines that name the entries of an array of pointers."""
    return [f"{kind}{name} = ({kind}){array}[{i}];" for i, name in enumerate(names)]


def _unpack_common(source: GeneratedCode) -> list[str]:
    """Return the lines that name states and weights."""
    return [
        *_unpack("states", (f"h{k}" for k in range(len(source.widths)))),
        *_unpack("vectors", (f"w{i}" for i in range(len(source.vectors)))),
        *_unpack("matrices", (f"m{i}" for i in range(len(source.matrices)))),
    ]


def _workspace(products: list[Product], source: GeneratedCode) -> list[str]:
    """Return the lines that lay out the products' outputs and pack their matrices once."""
    lines, at = [], "workspace"
    for product in products:
        lines.append(f"real *p{product.number} = {at};")
        rows = "B" if source.memory_part is None else "T * B"
        at = f"p{product.number} + {rows} * P{product.number}"
    for product in products:
        lines.append(f"real *k{product.number} = {at};")
        kind, shape = product_call(product)
        weight = f"m{source.matrices.index(product.weight)}"
        at = f"pack_{kind}(B, {shape}, {weight}, k{product.number})"
    if source.memory_part is not None:
        return [*lines, f"real *core = {at};"]
    return [*lines, f"{at};"] if products else []


def single_token_file(source: GeneratedCode, forwards: list[Product], step: list[str]) -> str:
    """Return the file with `advance_streams`, which reads a token of each stream.

    `advance` replaces the state of one stream. There is one row and one time step, which the
    compiler knows: no matrix is packed. It is called for each stream and never inlined, so that a
    stream gets the same bits whatever is beside it.
    """
    widths = list(enumerate(source.widths))
    lines = [
        RUNTIME_SOURCE.read_text(),
        *(f"#define P{p.number} {p.width}" for p in forwards),
        f"#define SAVED {source.saved_size}",
        "__attribute__((noinline))",
        f"static void advance(const int64_t *ids, {ARRAYS}) {{",
        "const long t = 0, B = 1, saved_stride = 0;",
        "const int indexed = 1;",
        UNUSED,
        *_unpack_common(source),
        *_workspace(forwards, source),
        *step,
        *(f"memcpy(h{k}, h{k} + {n}, {n} * sizeof(real));" for k, n in widths),
        "}",
        f"void advance_streams(long streams, const int64_t *ids, {ARRAYS}) {{",
        "for (long i = 0; i < streams; i++) {",
        f"void *own[{len(widths)}];",
        *(f"own[{k}] = (real *)states[{k}] + i * {2 * n};" for k, n in widths),
        "advance(ids + i, x, own, vectors, matrices, v, workspace);",
        "}",
        "}",
        "",
    ]
    return "\n".join(lines)


class MemoryFunctions(NamedTuple):
    """Lines of a step's memory: its sizes and its functions."""

    defines: list[str]
    functions: list[str]


def unroll_file(
    source: GeneratedCode,
    step: TracedStep,
    forwards: list[Product],
    gradients_of_products: list[ProductGradient],
    forward: tuple[list[str], list[str]],
    backward: tuple[list[str], list[str]],
    memory: MemoryFunctions | None,
) -> str:
    """Return the file with both functions; runtime.py passes their arguments in this order."""
    parts = range(len(step.widths))
    widths = [f"#define P{p.number} {p.width}" for p in forwards]
    widths += [f"#define P{p.back.number} {p.product.columns}" for p in gradients_of_products]
    signature = f"long T, long B, const int64_t *ids, {ARRAYS}, long saved_stride"
    names = "T, B, ids, x, states, vectors, matrices, v, workspace, saved_stride"
    more = "real *o, real *d, real *dx, void **gradients, void **next, void **grad_vectors, real *c"
    more_names = "o, d, dx, gradients, next, grad_vectors, c"
    unused = f"{UNUSED} (void)ids; (void)saved_stride;"
    matrix = source.memory_part
    memory_unroll: tuple[list[str], list[str]] = [], []
    if memory:
        memory_unroll = (
            [
                f"memory_forward(T, B, v, h{matrix}, core);",
                "for (long t = 0; t < T; t++) {",
                *forward[1],
                "}",
            ],
            [
                "}",
                f"memory_backward(T, B, v, h{matrix}, c, a{matrix}, core);",
                "for (long t = T - 1; t >= 0; t--) {",
                *backward[1],
            ],
        )
    lines = [
        RUNTIME_SOURCE.read_text(),
        *widths,
        f"#define SAVED {source.saved_size}",
        f"#define SCRATCH {source.scratch}",
        *([*memory.defines, MEMORY_SOURCE.read_text(), *memory.functions] if memory else []),
        f"INLINE void unroll_forward({signature}, const int indexed) {{",
        unused,
        *_unpack_common(source),
        *_workspace(forwards, source),
        "for (long t = 0; t < T; t++) {",
        *forward[0],
        "}",
        *memory_unroll[0],
        "}",
        f"void forward({signature}) {{",
        f"if (ids) unroll_forward({names}, 1); else unroll_forward({names}, 0);",
        "}",
        f"INLINE void unroll_backward({signature}, {more}, const int indexed) {{",
        unused + " (void)o; (void)d; (void)dx; (void)grad_vectors; (void)c;",
        *_unpack_common(source),
        *_unpack("gradients", (f"a{k}" for k in parts)),
        *_unpack("next", (f"e{k}" for k in parts)),
        *_unpack("grad_vectors", (f"dw{i}" for i in range(len(source.vectors)))),
        *_workspace([p.back for p in gradients_of_products], source),
        "for (long t = T - 1; t >= 0; t--) {",
        *backward[0],
        *memory_unroll[1],
        *(f"{{ real *swap = a{k}; a{k} = e{k}; e{k} = swap; }}" for k in parts if k != matrix),
        "}",
        "}",
        f"void backward({signature}, {more}) {{",
        f"if (ids) unroll_backward({names}, {more_names}, 1);",
        f"else unroll_backward({names}, {more_names}, 0);",
        "}",
        "",
    ]
    return "\n".join(lines)
