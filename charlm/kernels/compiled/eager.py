"""A traced step and its gradient walked by PyTorch, operation by operation, on any device.

What autograd would do at each character is done once: no graph is made, and each matrix gets its
gradient from one product over all of time.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from charlm.cells.base import Cell, State
from charlm.kernels.compiled.autodiff import Adjoint, contiguous_slice, differentiate
from charlm.kernels.compiled.graph import Graph, Node, Product
from charlm.kernels.compiled.runtime import sum_by_weight, weight_gradient
from charlm.kernels.compiled.trace import TracedStep, cached_trace, trace_step


def _either(of: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """maximum and minimum take no plain numbers."""

    def apply(a: Any, b: Any) -> Tensor:
        like = a if isinstance(a, Tensor) else b
        return of(torch.as_tensor(a).to(like), torch.as_tensor(b).to(like))

    return apply


APPLY: dict[str, Callable[..., Any]] = {
    **{name: getattr(torch, name) for name in ("sigmoid", "tanh", "relu", "exp", "log", "sqrt")},
    **{name: getattr(torch, name) for name in ("cos", "sin", "abs", "where")},
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "neg")},
    **{name: getattr(operator, name) for name in ("gt", "ge", "lt", "le", "eq")},
    "div": operator.truediv,
    "sigmoid_back": torch.ops.aten.sigmoid_backward,
    "tanh_back": torch.ops.aten.tanh_backward,
    "remainder": operator.mod,
    "logsigmoid": torch.nn.functional.logsigmoid,
    "maximum": _either(torch.maximum),
    "minimum": _either(torch.minimum),
    "sum": lambda x: x.sum(-1, keepdim=True),
}
Item = Node | Product
Values = dict[Node, Any]
Buffers = dict[str, Tensor]  # each (batch, width), or (width,) of a vector


@dataclass(frozen=True)
class Program:
    """A cell's step, there and back, in the order in which it can be done."""

    step: TracedStep
    adjoint: Adjoint
    there: list[Item]
    back: list[Item]
    needed: list[Node]  # of the way there on the way back
    matrices: list[str]
    vectors: list[str]


def _programmed(cell: Cell) -> Program:
    return _program(trace_step(cell))


def program_of(cell: Cell) -> Program | str:
    """The program of this cell's step, or what of it the engine cannot say."""
    return cached_trace(cell, _programmed)


def refusal(cell: Cell, device: str) -> str:  # noqa: ARG001
    """Why the engine cannot walk this cell, or ""."""
    program = program_of(cell)
    return program if isinstance(program, str) else ""


def _program(step: TracedStep) -> Program:
    graph = step.graph
    adjoint = differentiate(step)
    ends = [*adjoint.leaves.values(), *(g for p in adjoint.products for g in p.gradients)]
    made = _needed(graph, ends, adjoint)
    back = [
        i
        for i in made
        if i.index > adjoint.last_forward_index or (isinstance(i, Node) and i.op == "const")
    ]
    used = [a for i in back for a in (i.args if isinstance(i, Node) else i.inputs)] + ends
    needed = [
        n for n in dict.fromkeys(used) if n.index <= adjoint.last_forward_index and n.op != "const"
    ]
    there = _needed(graph, [c for columns in step.after for c in columns] + needed)
    vectors = {
        str(n.where[0])[2:]
        for n in graph.nodes.values()
        if n.op == "leaf" and n.where[0].startswith("w:")
    }
    matrices = list(dict.fromkeys(p.weight for p in graph.products))
    return Program(step, adjoint, there, back, needed, matrices, sorted(vectors))


def _needed(graph: Graph, ends: Iterable[Node], adjoint: Adjoint | None = None) -> list[Item]:
    """All that these columns are made of, and what they must be made after."""
    products = {p.buffer: p for p in graph.products}
    found: dict[Item, None] = {}
    todo: list[Item] = list(ends)
    if adjoint:
        todo += [p.back for p in adjoint.products]
    while todo:
        item = todo.pop()
        if item in found:
            continue
        found[item] = None
        if isinstance(item, Product):
            todo += item.inputs
        elif item.op == "leaf" and item.where[0] in products:
            todo.append(products[item.where[0]])
        else:
            todo += item.args
    return sorted(found, key=lambda item: item.index)


def _do(items: list[Item], buffers: Buffers, values: Values, weights: dict[str, Tensor]) -> None:
    """Each item's value, in order; those that are there already stay."""
    for item in items:
        if isinstance(item, Product):
            weight = weights[item.weight]
            inputs = _row(item.inputs, buffers, values)
            if item.blocks:
                buffers[item.buffer] = _blocks(item, inputs, weight)
            else:
                buffers[item.buffer] = inputs @ (weight if item.backwards else weight.t())
        elif item not in values:
            if item.op == "leaf":
                buffer, at = item.where
                values[item] = buffers[buffer][..., at : at + item.width]
            elif item.op == "const":
                values[item] = item.where
            else:
                values[item] = APPLY[item.op](*(values[arg] for arg in item.args))


def _row(columns: tuple[Node, ...], buffers: Buffers, values: Values) -> Tensor:
    """Columns side by side, (batch, width)."""
    place = contiguous_slice(columns)
    width = sum(column.width for column in columns)
    if place and place[0] in buffers:
        return buffers[place[0]][..., place[1] : place[1] + width]
    like = buffers["x"]
    parts = [
        value
        if isinstance(value := values[column], Tensor)
        else like.new_full((len(like), column.width), value)
        for column in columns
    ]
    return torch.cat(parts, dim=-1)


def _blocks(product: Product, inputs: Tensor, weight: Tensor) -> Tensor:
    parts, heads, share = product.blocks
    if product.backwards:
        out = inputs.unflatten(-1, (parts, heads, share))
        return torch.einsum("bpho,phoi->bhi", out, weight).flatten(1)
    read = inputs.unflatten(-1, (heads, share))
    return torch.einsum("bhi,phoi->bpho", read, weight).flatten(1)


def _fill(target: Tensor, columns: Iterable[Any], widths: Iterable[int]) -> None:
    """Columns, or single numbers in their place, into (batch, width)."""
    ends = list(accumulate(widths, initial=0))
    for column, at, end in zip(columns, ends, ends[1:], strict=False):
        target[..., at:end] = column


class Walk:
    """One way there, and what the way back needs of it."""

    def __init__(
        self, program: Program, x: Tensor, weights: dict[str, Tensor], start: list[Tensor],
        learn: bool,
    ) -> None:  # fmt: skip
        """x: (time, batch, any)."""
        self.program, self.x, self.weights = program, x, weights
        self.states = [x.new_empty(len(x) + 1, *part.shape) for part in start]
        for history, part in zip(self.states, start, strict=True):
            history[0] = part
        self.vectors = {f"w:{name}": weights[name].reshape(-1) for name in program.vectors}
        forwards = [p.product for p in program.adjoint.products]
        self.read = {p: x.new_empty(*x.shape[:2], p.columns) for p in forwards if learn}
        self.kept: list[Values] = []
        after = program.step.after
        for t in range(len(x)):
            buffers = self._buffers(t)
            values: Values = {}
            _do(program.there, buffers, values, weights)
            for history, columns in zip(self.states, after, strict=True):
                _fill(history[t + 1], (values[c] for c in columns), (c.width for c in columns))
            if learn:
                for product, read in self.read.items():
                    read[t] = _row(product.inputs, buffers, values)
                self.kept.append({node: values[node] for node in program.needed})

    def _buffers(self, t: int) -> Buffers:
        states = {f"s{k}": history[t] for k, history in enumerate(self.states)}
        return {"x": self.x[t], **states, **self.vectors}

    def back(self, above: Tensor, last: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Gradients of the outputs and of the last state -> of x, of the weights, of the start."""
        program, x = self.program, self.x
        graph, leaves = program.step.graph, program.adjoint.leaves
        of_x = torch.zeros_like(x)
        shares = {n: torch.zeros_like(self.vectors[f"w:{n}"]) for n in program.vectors}
        deltas = [x.new_empty(*x.shape[:2], p.product.rows) for p in program.adjoint.products]
        now = list(last)
        for t in reversed(range(len(x))):
            buffers, values = self._buffers(t), dict(self.kept[t])
            buffers |= {"o": above[t], **{f"a{k}": part for k, part in enumerate(now)}}
            _do(program.back, buffers, values, self.weights)
            now = [torch.zeros_like(part) for part in now]
            for node, gradient in leaves.items():
                buffer, at = node.where
                value, end = values[gradient], at + node.width
                if buffer == "x":
                    of_x[t, :, at:end] = value
                elif buffer[0] == "s":
                    now[int(buffer[1:])][:, at:end] = value
                elif buffer[2:] in shares:
                    shares[buffer[2:]][at:end] += value.sum(0)
            for pulled, delta in zip(program.adjoint.products, deltas, strict=True):
                widths = [c.width for c in graph.leaves(pulled.product.buffer, pulled.product.rows)]
                _fill(delta[t], (values[g] for g in pulled.gradients), widths)
                if pulled.target is not None:
                    part, at = pulled.target
                    now[part][:, at : at + pulled.product.columns] += buffers[pulled.back.buffer]
        of_vectors = [share.view_as(self.weights[n]) for n, share in shares.items()]
        return of_x, [*of_vectors, *self._matrices(deltas)], now

    def _matrices(self, deltas: list[Tensor]) -> list[Tensor]:
        """The gradient of every matrix: for each product in the step one product over all time."""
        shares = [
            (p.product.weight, weight_gradient(p.product.blocks, delta, self.read[p.product]))
            for p, delta in zip(self.program.adjoint.products, deltas, strict=True)
        ]
        return sum_by_weight(shares, {name: self.weights[name] for name in self.program.matrices})


class Through(torch.autograd.Function):
    """(program, x, *weights, *start) -> (outputs, *last)."""

    @staticmethod
    def forward(ctx: Any, program: Program, x: Tensor, *rest: Tensor) -> Any:
        names = (*program.vectors, *program.matrices)
        weights = dict(zip(names, rest, strict=False))
        ctx.walk = Walk(program, x, weights, list(rest[len(names) :]), learn=True)
        ctx.save_for_backward(*weights.values())  # so that changed weights are refused
        return _result(ctx.walk)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outputs: Tensor, *last: Tensor) -> Any:
        ctx.walk.weights = dict(zip(ctx.walk.weights, ctx.saved_tensors, strict=True))
        of_x, of_weights, of_start = ctx.walk.back(outputs, list(last))
        return None, of_x, *of_weights, *of_start


def _result(walk: Walk) -> tuple[Tensor, ...]:
    return walk.states[0][1:], *(history[-1].clone() for history in walk.states)


def through(cell: Cell, x: Tensor, state: State, ids: Tensor | None) -> tuple[Tensor, State]:
    """x: what cell.project gives, (time, batch, any), or with ids of each symbol (symbols, any)."""
    program = program_of(cell)
    assert not isinstance(program, str), program
    weights = {name: attrgetter(name)(cell) for name in (*program.vectors, *program.matrices)}
    x = x if ids is None else embedding(ids, x)
    if torch.is_grad_enabled():
        outputs, *last = Through.apply(program, x, *weights.values(), *state)
    else:
        outputs, *last = _result(Walk(program, x, weights, list(state), learn=False))
    return outputs, tuple(last)
