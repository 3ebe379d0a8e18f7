"""Tracing: run a cell's `step` on symbols and record its operations as a graph."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from charlm.cells.base import Cell
from charlm.cells.products import projection_size
from charlm.kernels.compiled.graph import Graph, Node, UnsupportedOperation, leaf_of
from charlm.kernels.compiled.memory import Memory, TracedMemory
from charlm.kernels.compiled.symbols import TracedTensor, TracedWeight, UnsupportedBuffer


def traced_module(module: nn.Module, graph: Graph, prefix: str = "") -> nn.Module:
    """Return a copy of the module with symbols in place of its weights."""

    def symbol(
        name: str, tensor: Tensor | None
    ) -> TracedTensor | TracedWeight | UnsupportedBuffer | None:
        if tensor is None:
            return None
        if not tensor.is_floating_point():
            return UnsupportedBuffer(
                f"its step uses {prefix}{name}, which has the dtype {tensor.dtype}"
            )
        if tensor.dim() > 1:
            return TracedWeight(prefix + name, tuple(tensor.shape))
        columns = graph.leaves(f"w:{prefix}{name}", tensor.numel())
        return TracedTensor(graph, columns, has_batch=False)

    copy = object.__new__(type(module))
    copy.__dict__.update(module.__dict__)
    copy.__dict__["_parameters"] = {n: symbol(n, p) for n, p in module._parameters.items()}
    copy.__dict__["_buffers"] = {n: symbol(n, b) for n, b in module._buffers.items()}
    copy.__dict__["_modules"] = {
        n: m and traced_module(m, graph, f"{prefix}{n}.") for n, m in module._modules.items()
    }
    return copy


@dataclass(frozen=True)
class TracedStep:
    """A traced step: the next state as columns computed from x, s0, s1, ... and weights."""

    graph: Graph
    after: tuple[tuple[Node, ...], ...]
    widths: tuple[int, ...]  # of the parts of the state
    inputs: int  # width of Wx
    shapes: Mapping[str, tuple[int, ...]]  # of the cell's weights, by name
    state_dims: tuple[tuple[int, ...], ...] = ()  # of the parts of the state, without the batch
    memory: Memory | None = None  # a matrix in the state; its columns in `after` are ()


Result = TypeVar("Result")
TRACE_CACHE: WeakKeyDictionary[Cell, dict[tuple[Any, ...], Any]] = WeakKeyDictionary()


def cached_trace(cell: Cell, compute: Callable[[Cell], Result]) -> Result | str:
    """Return what `compute` returns for this cell, once; or why its step cannot be traced.

    The cache is per cell, not per class: a step may depend on attributes of the instance.
    """
    known = TRACE_CACHE.setdefault(cell, {})
    key = compute, cell.training, next(cell.parameters()).dtype
    if key not in known:
        try:
            known[key] = compute(cell)
        except UnsupportedOperation as reason:
            known[key] = str(reason)
    result: Result | str = known[key]
    return result


def trace_step(cell: Cell) -> TracedStep:
    """Return the graph of a cell's step.

    Raises:
        UnsupportedOperation: The step uses an operation that cannot be compiled.
    """
    with torch.no_grad():
        cell = cell.prepared()
    dtype = next(cell.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        raise UnsupportedOperation(f"it computes in {dtype}, not in float32 or float64")
    with torch.no_grad():
        parts = cell.initial_state(1)
    inputs = projection_size(cell)
    dims = tuple(tuple(part.shape[1:]) for part in parts)
    matrices = [k for k, each in enumerate(dims) if len(each) == 3]
    if any(not 1 <= len(each) <= 3 for each in dims):
        raise UnsupportedOperation("a part of its state has more than three dimensions")
    if len(matrices) > 1:
        raise UnsupportedOperation("more than one part of its state is a matrix for each head")
    widths = tuple(math.prod(each) for each in dims)
    cuts: dict[str, set[int]] = {}
    while True:  # until every buffer is split everywhere at the same offsets
        known = {buffer: set(at) for buffer, at in cuts.items()}
        graph = Graph(cuts=cuts)
        traced = traced_module(cell, graph)
        memory = None
        if matrices:
            heads, keys, values = dims[matrices[0]]
            memory = Memory(graph, matrices[0], heads, keys, values)
        state = tuple(
            TracedMemory(memory, 0)
            if memory and k == memory.part
            else TracedTensor(graph, graph.leaves(f"s{k}", width), dims[k])
            for k, width in enumerate(widths)
        )
        try:
            after = traced.step(TracedTensor(graph, graph.leaves("x", inputs)), state)  # type: ignore[operator]
        except UnsupportedOperation:
            raise
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise UnsupportedOperation(
                f"its step cannot be followed on symbols: {str(error).splitlines()[0]}"
            ) from error
        if known == cuts:
            break
    columns = tuple(
        _next_columns(part, each, memory) for part, each in zip(after, dims, strict=True)
    )
    step = TracedStep(graph, columns, widths, inputs, _weight_shapes(cell), dims, memory)
    if memory:
        _check_memory(step, memory)
    return step


def _next_columns(
    part: TracedTensor | TracedMemory, dims: tuple[int, ...], memory: Memory | None
) -> tuple[Node, ...]:
    """Return the columns of a part of the next state; of a memory there are none."""
    if isinstance(part, TracedMemory):
        if memory is None or part.version != len(memory.changes) or dims != memory.dims:
            raise UnsupportedOperation("its step changes one memory in two ways")
        return ()
    if part.dims != dims:
        raise UnsupportedOperation("its step returns a state of other widths")
    return part.columns


def _check_memory(step: TracedStep, memory: Memory) -> None:
    """Check that the memory can be unrolled by itself: what is read does not return to it.

    Raises:
        UnsupportedOperation: The next step needs what this one reads, or the output is not read.
    """
    graph = step.graph
    used = {arg for node in graph.nodes.values() for arg in node.args}
    used |= {column for p in graph.products for column in p.inputs} | {*memory.inputs}
    for k, columns in enumerate(step.after):
        is_read = any(memory.depends_on_reads(column) for column in columns)
        returns = any(leaf_of(node) == f"s{k}" for node in used)
        if is_read and (k > 0 or returns):
            raise UnsupportedOperation("its step needs what the step before has read in its memory")
        if k == 0 and not is_read:
            raise UnsupportedOperation("its output does not depend on what it reads in its memory")
    if any(leaf_of(column) == "s0" for columns in step.after for column in columns):
        raise UnsupportedOperation("its step needs what the step before has read in its memory")


def _weight_shapes(cell: Cell) -> dict[str, tuple[int, ...]]:
    weights = (
        *cell.named_parameters(remove_duplicate=False),
        *cell.named_buffers(remove_duplicate=False),
    )
    return {name: tuple(weight.shape) for name, weight in weights}
