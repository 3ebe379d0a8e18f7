"""What a matrix learns from a text: one product over all of time."""

import ctypes
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from charlm.cells.base import Cell, State
from charlm.errors import ConfigError
from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.codegen import GeneratedCode, generate_c
from charlm.kernels.compiled.compiler import data_pointer
from charlm.kernels.compiled.trace import cached_trace, trace_step


def weight_gradient(blocks: tuple[int, ...], deltas: Tensor, inputs: Tensor) -> Tensor:
    """Gradients of outputs (time, batch, rows), inputs (time, batch, columns) -> of the matrix."""
    deltas, inputs = deltas.flatten(0, 1), inputs.flatten(0, 1)
    if not blocks:
        return deltas.t() @ inputs
    parts, heads, share = blocks
    deltas = deltas.unflatten(1, (parts, heads, share))
    return torch.einsum("npho,nhi->phoi", deltas, inputs.unflatten(1, (heads, share)))


def sum_by_weight(shares: list[tuple[str, Tensor]], weights: dict[str, Tensor]) -> list[Tensor]:
    """The gradient of each weight: the sum of its shares, zeros where it has none."""
    found: dict[str, Tensor] = {}
    for name, share in shares:
        found[name] = found[name] + share if name in found else share
    return [
        found[name] if name in found else torch.zeros_like(weight)
        for name, weight in weights.items()
    ]


INPUT_ARGUMENT = 3  # the place of x among the arguments


def _emitted(cell: Cell) -> GeneratedCode:
    names = {name for name, _ in cell.named_parameters(remove_duplicate=False)}
    return generate_c(trace_step(cell), names.__contains__)


def generated_code(cell: Cell) -> GeneratedCode | str:
    """The C of this cell's step at its widths, or what of its step the engine cannot say."""
    return cached_trace(cell, _emitted)


def unsupported_reason(cell: Cell, device: str) -> str:
    """Why the compiled kernel cannot walk this cell here, or ""; builds it to know."""
    if device != "cpu":
        return "compiled kernels run on a CPU"
    source = generated_code(cell)
    if isinstance(source, str) or not compiler.compiler():
        return source if isinstance(source, str) else compiler.unavailable_reason()
    try:
        load_functions(source.text, next(cell.parameters()).dtype)
    except ConfigError as error:
        return str(error).partition(": --kernel")[0]
    return ""


def pointer_array(tensors: list[Tensor]) -> Any:
    return (ctypes.c_void_p * max(1, len(tensors)))(*(tensor.data_ptr() for tensor in tensors))


@cache
def load_functions(text: str, dtype: torch.dtype) -> tuple[Any, Any]:
    library = compiler.load_library(f"#define REAL {dtype.itemsize}\n{text}")
    return library.there, library.back


@dataclass
class CompiledUnroll:
    """One way there, and what the way back needs of it."""

    source: GeneratedCode
    x: Tensor  # (time, batch, any), or with ids a table (symbols, any)
    ids: Tensor | None
    vectors: list[Tensor]
    matrices: list[Tensor]
    states: list[Tensor]  # each (time + 1, batch, width)
    kept: Tensor

    @classmethod
    def allocate(
        cls, source: GeneratedCode, x: Tensor, ids: Tensor | None, weights: list[Tensor],
        start: list[Tensor], learn: bool,
    ) -> Self:  # fmt: skip
        """learn: whether it will be walked back, so that what is kept is kept for all times."""
        time, batch = (x if ids is None else ids).shape[:2]
        states = [x.new_empty(time + 1, batch, part.shape[1]) for part in start]
        for history, part in zip(states, start, strict=True):
            history[0] = part
        vectors, matrices = weights[: len(source.vectors)], weights[len(source.vectors) :]
        kept = x.new_empty(time if learn else 1, batch, source.stash)
        return cls(source, x, ids, vectors, matrices, states, kept)

    def forward(self) -> Self:
        load_functions(self.source.text, self.x.dtype)[0](*self.arguments())
        return self

    def arguments(self) -> tuple[Any, ...]:
        """What both functions take, in the order of emit's signature."""
        time, batch = len(self.states[0]) - 1, self.kept.shape[1]
        stride = self.kept.stride(0) if len(self.kept) == time else 0
        self.room = self.x.new_empty(batch * self.source.workspace_size + self.source.packed)
        return (
            ctypes.c_long(time), ctypes.c_long(batch), data_pointer(self.ids), data_pointer(self.x),
            pointer_array(self.states), pointer_array(self.vectors), pointer_array(self.matrices),
            data_pointer(self.kept), ctypes.c_long(stride), data_pointer(self.room),
        )  # fmt: skip

    def backward(
        self, outputs: Tensor, last: list[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Gradients of the outputs and of the last state -> of x, of the weights, of the start."""
        source, x = self.source, self.x
        time, batch, _ = outputs.shape
        deltas = x.new_empty(time, batch, source.deltas)
        if self.ids is not None:
            of_x = torch.zeros_like(x)
        else:
            of_x = deltas if source.input_gradient_is_deltas else torch.empty_like(x)
        now = [gradient.clone(memory_format=torch.contiguous_format) for gradient in last]
        following = [torch.empty_like(gradient) for gradient in now]
        shares = [torch.zeros_like(vector) for vector in self.vectors]
        scratch = x.new_empty(batch, source.scratch)
        outputs = outputs.contiguous()
        load_functions(source.text, x.dtype)[1](
            *self.arguments(), data_pointer(outputs), data_pointer(deltas), data_pointer(of_x),
            pointer_array(now), pointer_array(following), pointer_array(shares), data_pointer(scratch),
        )  # fmt: skip
        return of_x, [*shares, *self._products(deltas)], following if time % 2 else now

    def _products(self, deltas: Tensor) -> list[Tensor]:
        """The gradient of every matrix: for each product in the step one product over all time."""
        shares = []
        for p in self.source.products:
            read = self.kept if p.buffer == "v" else self.states[int(p.buffer[1:])][:-1]
            inputs = read[..., p.offset : p.offset + p.columns]
            share = weight_gradient(p.blocks, deltas[..., p.at : p.at + p.rows], inputs)
            shares.append((p.weight, share))
        return sum_by_weight(shares, dict(zip(self.source.matrices, self.matrices, strict=True)))


class CompiledStepper:
    """A Stepper by the same C, one character a call: its arguments are made once."""

    def __init__(self, cell: Cell, state: State) -> None:
        source = generated_code(cell)
        assert not isinstance(source, str), source
        weights = _weights(cell, source)
        x = weights[0].new_empty(1, 1, source.inputs)
        self.walk = CompiledUnroll.allocate(source, x, None, weights, list(state), learn=False)
        self.call, _ = load_functions(source.text, x.dtype)
        self.arguments = list(self.walk.arguments())
        self.ends = [(history[0], history[1]) for history in self.walk.states]

    def __call__(self, Wx: Tensor) -> Tensor:
        Wx = Wx.contiguous()
        self.arguments[INPUT_ARGUMENT] = data_pointer(Wx)
        self.call(*self.arguments)
        for before, after in self.ends:
            before.copy_(after)
        return self.ends[0][1]


class CompiledFunction(torch.autograd.Function):
    """(source, ids, x, *weights, *start) -> (outputs, *last)."""

    @staticmethod
    def forward(
        ctx: Any, source: GeneratedCode, ids: Tensor | None, x: Tensor, *rest: Tensor
    ) -> Any:
        count = len(source.vectors) + len(source.matrices)
        weights, start = list(rest[:count]), list(rest[count:])
        walk = CompiledUnroll.allocate(source, x, ids, weights, start, learn=True).forward()
        # Saved as PyTorch wants it: freed on the way back, and refused once a weight was changed.
        ctx.source, ctx.looked = source, ids is not None
        ctx.counts = len(source.vectors), len(source.matrices), len(walk.states)
        ids = x.new_empty(0) if ids is None else ids
        ctx.save_for_backward(
            x, ids, walk.kept, *walk.vectors, *walk.matrices, *walk.states
        )  # fmt: skip
        return _result(walk)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outputs: Tensor, *last: Tensor) -> Any:
        x, ids, kept, *rest = ctx.saved_tensors
        vectors, matrices, states = ctx.counts
        walk = CompiledUnroll(
            ctx.source, x, ids if ctx.looked else None, rest[:vectors],
            rest[vectors : vectors + matrices], rest[-states:], kept,
        )  # fmt: skip
        of_x, of_weights, of_start = walk.backward(outputs, list(last))
        return None, None, of_x, *of_weights, *of_start


def _result(walk: CompiledUnroll) -> tuple[Tensor, ...]:
    return walk.states[0][1:], *(history[-1].clone() for history in walk.states)


def _weights(cell: Cell, source: GeneratedCode) -> list[Tensor]:
    """The vectors and the matrices that its step takes, in the order of the C."""
    names = (*source.vectors, *source.matrices)
    return [attrgetter(name)(cell).contiguous() for name in names]


def run_compiled(cell: Cell, x: Tensor, state: State, ids: Tensor | None) -> tuple[Tensor, State]:
    """x: what cell.project gives, (time, batch, any), or with ids of each symbol (symbols, any)."""
    source = generated_code(cell)
    assert not isinstance(source, str), source
    weights = _weights(cell, source)
    kinds = {tensor.dtype for tensor in (x, *weights, *state)}
    if len(kinds) > 1:
        raise TypeError(f"{type(cell).__name__} mixes {' and '.join(map(str, kinds))}")
    x = x.contiguous()
    if ids is not None:
        ids = ids.long().contiguous()
        if not 0 <= int(ids.min()) <= int(ids.max()) < len(x):  # C would read beyond the table
            raise IndexError(f"an id is not in the table of {len(x)} symbols")
    if torch.is_grad_enabled():
        outputs, *last = CompiledFunction.apply(source, ids, x, *weights, *state)
    else:
        walk = CompiledUnroll.allocate(source, x, ids, weights, list(state), learn=False).forward()
        outputs, *last = _result(walk)
    return outputs, tuple(last)
