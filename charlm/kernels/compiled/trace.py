"""Tracing: run a cell's `step` on symbols and record its operations as a graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from charlm.cells.base import Cell
from charlm.cells.products import projection_size
from charlm.kernels.compiled.graph import Graph, Node, UnsupportedOperation
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
        return TracedTensor(graph, graph.leaves(f"w:{prefix}{name}", tensor.numel()))

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
    dtype = next(cell.parameters()).dtype
    if dtype not in (torch.float32, torch.float64):
        raise UnsupportedOperation(f"it computes in {dtype}, not in float32 or float64")
    with torch.no_grad():
        parts = cell.initial_state(1)
    inputs = projection_size(cell)
    if any(part.dim() != 2 for part in parts):
        raise UnsupportedOperation("a part of its state is not a vector")
    widths = tuple(part.shape[1] for part in parts)
    cuts: dict[str, set[int]] = {}
    while True:  # until every buffer is split everywhere at the same offsets
        known = {buffer: set(at) for buffer, at in cuts.items()}
        graph = Graph(cuts=cuts)
        traced = traced_module(cell, graph)
        state = tuple(
            TracedTensor(graph, graph.leaves(f"s{k}", width)) for k, width in enumerate(widths)
        )
        try:
            after = traced.step(TracedTensor(graph, graph.leaves("x", inputs)), state)  # type: ignore[operator]
        except UnsupportedOperation:
            raise
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise UnsupportedOperation(
                f"its step cannot be traced: {str(error).splitlines()[0]}"
            ) from error
        if known == cuts:
            break
    if [part.width for part in after] != list(widths):
        raise UnsupportedOperation("its step returns a state of other widths")
    columns = tuple(part.columns for part in after)
    return TracedStep(graph, columns, widths, inputs, _weight_shapes(cell))


def _weight_shapes(cell: Cell) -> dict[str, tuple[int, ...]]:
    weights = (
        *cell.named_parameters(remove_duplicate=False),
        *cell.named_buffers(remove_duplicate=False),
    )
    return {name: tuple(weight.shape) for name, weight in weights}
