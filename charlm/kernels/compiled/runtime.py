"""Compiled kernel: C generated from a cell's own step, as one differentiable operation on a CPU."""

import ctypes
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from charlm.cells.base import Cell, State
from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.codegen import generate_c
from charlm.kernels.compiled.kernel_cache import UnavailableKernelError
from charlm.kernels.compiled.layout import GeneratedCode
from charlm.kernels.compiled.linear import CompiledLinearMode, load_linear_library
from charlm.kernels.compiled.memory_c import SEGMENT
from charlm.kernels.compiled.pointers import (
    NULL,
    check_count,
    check_tensor,
    check_token_ids,
    data_pointer,
    pointer_array,
)
from charlm.kernels.compiled.trace import cached_trace, trace_step
from charlm.kernels.loop import embed_if_shorter
from charlm.kernels.registry import register_kernel


def generated_code(cell: Cell) -> GeneratedCode | str:
    """Return the C of this cell's step, or the reason why its step cannot be compiled."""
    return cached_trace(cell, _generate)


def _generate(cell: Cell) -> GeneratedCode:
    names = {name for name, _ in cell.named_parameters(remove_duplicate=False)}
    return generate_c(trace_step(cell), names.__contains__)


def unsupported_reason(cell: Cell, device: str) -> str:
    """Return why the compiled kernel cannot unroll this cell, or ""."""
    if device != "cpu":
        return "compiled kernels run on a CPU"
    source = generated_code(cell)
    if isinstance(source, str):
        return source
    return "" if compiler.compiler() else compiler.unavailable_reason()


def build(cell: Cell | None) -> str:
    """Build all that unrolling a supported cell needs, and return why it cannot be built, or "".

    Args:
        cell: A cell; None: build something small, to know whether anything can be built.
    """
    if cell is None:
        return compiler.unavailable_reason()
    source, dtype = generated_code(cell), next(cell.parameters()).dtype
    assert not isinstance(source, str), source
    try:
        load_functions(source.text, dtype)
        load_linear_library(dtype)
    except UnavailableKernelError as error:
        return error.reason
    return ""


@cache
def load_functions(text: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the C functions `forward` and `backward` of a generated text."""
    library = compiler.load_library(f"#define REAL {dtype.itemsize}\n{text}")
    return library.forward, library.backward


@dataclass
class CompiledUnroll:
    """Buffers of one forward pass, which the backward pass reads."""

    source: GeneratedCode
    x: Tensor  # (time, batch, any), or with ids a table (vocabulary, any)
    ids: Tensor | None
    vectors: list[Tensor]
    matrices: list[Tensor]
    states: list[Tensor]  # each (time + 1, batch, width); a matrix (kept + 1, batch, width)
    saved: Tensor  # what the backward pass needs (time, batch, saved_size)

    @classmethod
    def allocate(
        cls, source: GeneratedCode, x: Tensor, ids: Tensor | None, weights: list[Tensor],
        initial_state: list[Tensor], needs_backward: bool,
    ) -> Self:  # fmt: skip
        """Allocate the buffers; without a backward pass, values are saved for one step only.

        Raises:
            KernelInputError: The state is not one of the cell and the batch.
        """
        time, batch = (x if ids is None else ids).shape[:2]
        check_count(initial_state, len(source.widths), "the state")
        states = [x.new_empty(shape) for shape in history_shapes(source, time, batch)]
        for history, part, dims in zip(states, initial_state, source.state_dims, strict=True):
            check_tensor(part, x.dtype, (batch, *dims), "the state", any_strides=True)
            history[0].view(part.shape).copy_(part)
        vectors, matrices = weights[: len(source.vectors)], weights[len(source.vectors) :]
        keeps_all = needs_backward or source.memory_part is not None
        saved = x.new_empty(time if keeps_all else 1, batch, source.saved_size)
        return cls(source, x, ids, vectors, matrices, states, saved)

    def forward(self) -> Self:
        """Compute all states."""
        load_functions(self.source.text, self.x.dtype)[0](*self.arguments())
        return self

    def results(self) -> tuple[Tensor, ...]:
        """Return the outputs (time, batch, width), and each part of the last state."""
        last = zip(self.states, self.source.state_dims, strict=True)
        return self.states[0][1:], *(each[-1].clone().unflatten(1, dims) for each, dims in last)

    def arguments(self) -> tuple[Any, ...]:
        """Return what both C functions take, in the order of their signature in c_file.py.

        Raises:
            KernelInputError: A tensor is not of the shape that the C was generated for.
        """
        source, x, ids, dtype = self.source, self.x, self.ids, self.x.dtype
        time, batch = (x if ids is None else ids).shape[:2]
        x_shape = (time, batch, source.inputs) if ids is None else (len(x), source.inputs)
        histories = history_shapes(source, time, batch)
        saved_shape = (1 if len(self.saved) == 1 else time, batch, source.saved_size)
        stride = 0 if len(self.saved) == 1 else batch * source.saved_size
        steps = 1 if source.memory_part is None else time
        numbers = steps * batch * source.workspace_size + source.packed + source.memory_scratch
        workspace_shape = (numbers,)
        self.workspace = x.new_empty(workspace_shape)
        return (
            ctypes.c_long(time), ctypes.c_long(batch),
            NULL if ids is None else data_pointer(ids, torch.int64, (time, batch), "ids"),
            data_pointer(x, dtype, x_shape, "the projected input"),
            pointer_array(self.states, dtype, histories, "the states"),
            pointer_array(self.vectors, dtype, source.vector_shapes, "a vector of weights"),
            pointer_array(self.matrices, dtype, source.matrix_shapes, "a matrix of weights"),
            data_pointer(self.saved, dtype, saved_shape, "what was saved"),
            data_pointer(self.workspace, dtype, workspace_shape, "the workspace"),
            ctypes.c_long(stride),
        )  # fmt: skip

    def backward(
        self, grad_outputs: Tensor, grad_last_state: list[Tensor]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the gradients of x, of the weights, and of the initial state.

        Args:
            grad_outputs: Gradient of the outputs (time, batch, width).
            grad_last_state: Gradient of each part of the last state.
        """
        source, x, dtype = self.source, self.x, self.x.dtype
        time, batch = (x if self.ids is None else self.ids).shape[:2]
        part = source.memory_part
        deltas_shape, scratch_shape = (time, batch, source.deltas), (batch, source.scratch)
        if part is not None:
            scratch_shape = (time * batch, source.scratch)
            grad_outputs = grad_outputs.clone(memory_format=torch.contiguous_format)
            grad_outputs[-1] += grad_last_state[0]
        deltas = x.new_empty(deltas_shape)
        if self.ids is not None:
            grad_x = torch.zeros_like(x)
        else:
            grad_x = deltas if source.input_gradient_is_deltas else torch.empty_like(x)
        grad_state = [part.clone(memory_format=torch.contiguous_format) for part in grad_last_state]
        grad_previous = [torch.empty_like(each) for each in grad_state]
        grad_vectors = [torch.zeros_like(vector) for vector in self.vectors]
        scratch = x.new_empty(scratch_shape)
        grad_outputs = grad_outputs.contiguous()
        outputs_shape = (time, batch, source.widths[0])
        parts, vectors = [(batch, *dims) for dims in source.state_dims], source.vector_shapes
        load_functions(source.text, dtype)[1](
            *self.arguments(),
            data_pointer(grad_outputs, dtype, outputs_shape, "the gradient of the outputs"),
            data_pointer(deltas, dtype, deltas_shape, "the deltas"),
            data_pointer(grad_x, dtype, tuple(x.shape), "the gradient of the input"),
            pointer_array(grad_state, dtype, parts, "the gradient of the state"),
            pointer_array(grad_previous, dtype, parts, "the gradient of the state"),
            pointer_array(grad_vectors, dtype, vectors, "the gradient of a vector"),
            data_pointer(scratch, dtype, scratch_shape, "the scratch memory"),
        )  # fmt: skip
        grad_weights = [*grad_vectors, *self._matrix_gradients(deltas)]
        # The C function swaps the two buffers at each step, but not those of a matrix.
        grad_initial = grad_previous if time % 2 else grad_state
        if part is not None:
            grad_initial[part] = grad_state[part]
            grad_initial[0] = torch.zeros_like(grad_state[0])  # only the output, which none reads
        return grad_x, grad_weights, grad_initial

    def _matrix_gradients(self, deltas: Tensor) -> list[Tensor]:
        """Return the gradient of every matrix: one product over all of time for each use."""
        gradients: dict[str, Tensor] = {}
        for use in self.source.products:
            history = self.saved if use.buffer == "v" else self.states[int(use.buffer[1:])][:-1]
            inputs = history[..., use.offset : use.offset + use.columns]
            rows = deltas[..., use.delta_offset : use.delta_offset + use.rows]
            gradient = weight_gradient(use.blocks, rows, inputs)
            known = gradients.get(use.weight)
            gradients[use.weight] = gradient if known is None else known + gradient
        return [
            gradients[name] if name in gradients else torch.zeros_like(matrix)
            for name, matrix in zip(self.source.matrices, self.matrices, strict=True)
        ]


def history_shapes(source: GeneratedCode, time: int, batch: int) -> list[tuple[int, int, int]]:
    """Return the shapes of the kept states: every step, of a matrix every SEGMENT steps."""
    kept = -(-time // SEGMENT)
    return [
        (1 + (kept if k == source.memory_part else time), batch, width)
        for k, width in enumerate(source.widths)
    ]


def weight_gradient(blocks: tuple[int, ...], deltas: Tensor, inputs: Tensor) -> Tensor:
    """Return the gradient of a matrix, summed over all time steps with one product.

    Args:
        blocks: (parts, heads, head_size) of a block-diagonal matrix, else ().
        deltas: Gradient of the product's output (time, batch, rows).
        inputs: What it was multiplied with (time, batch, columns).
    """
    deltas, inputs = deltas.flatten(0, 1), inputs.flatten(0, 1)
    if not blocks:
        return deltas.t() @ inputs
    parts, heads, head_size = blocks
    deltas = deltas.unflatten(1, (parts, heads, head_size))
    return torch.einsum("npho,nhi->phoi", deltas, inputs.unflatten(1, (heads, head_size)))


class CompiledFunction(torch.autograd.Function):
    """(source, ids, x, *weights, *initial_state) -> (outputs, *last_state)."""

    @staticmethod
    def forward(
        ctx: Any, source: GeneratedCode, ids: Tensor | None, x: Tensor, *rest: Tensor
    ) -> Any:
        """Return the outputs (time, batch, width) and each part of the last state."""
        count = len(source.vectors) + len(source.matrices)
        weights, initial_state = list(rest[:count]), list(rest[count:])
        unroll = CompiledUnroll.allocate(
            source, x, ids, weights, initial_state, needs_backward=True
        ).forward()
        # Saved as PyTorch wants it: freed after the backward pass, refused if a weight changed.
        ctx.source, ctx.has_ids = source, ids is not None
        ctx.counts = len(source.vectors), len(source.matrices), len(unroll.states)
        ids = x.new_empty(0) if ids is None else ids
        ctx.save_for_backward(
            x, ids, unroll.saved, *unroll.vectors, *unroll.matrices, *unroll.states
        )
        return unroll.results()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, *grad_last_state: Tensor) -> Any:
        """Return the gradients of x, of the weights, and of the initial state."""
        x, ids, saved, *rest = ctx.saved_tensors
        vectors, matrices, states = ctx.counts
        unroll = CompiledUnroll(
            ctx.source, x, ids if ctx.has_ids else None, rest[:vectors],
            rest[vectors : vectors + matrices], rest[-states:], saved,
        )  # fmt: skip
        grad_x, grad_weights, grad_initial = unroll.backward(grad_outputs, list(grad_last_state))
        return None, None, grad_x, *grad_weights, *grad_initial


def read_weights(cell: Cell, source: GeneratedCode) -> list[Tensor]:
    """Return the vectors and matrices that the step uses, in the order of the C arguments."""
    names, ready = (*source.vectors, *source.matrices), cell.prepared()
    return [attrgetter(name)(ready).contiguous() for name in names]


@register_kernel("compiled", Cell, priority={"cpu": 30}, unless=unsupported_reason, build=build)
def unroll_compiled(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """Unroll a cell as `unroll_loop` does."""
    x, ids = embed_if_shorter(x, ids)
    with CompiledLinearMode():
        Wx = cell.project_inputs(x)
    return run_compiled(cell, Wx, state, ids)


def run_compiled(cell: Cell, Wx: Tensor, state: State, ids: Tensor | None) -> tuple[Tensor, State]:
    """Unroll a cell over projected inputs.

    Args:
        cell: The cell.
        Wx: Projected inputs (time, batch, any); with ids, a projected table (vocabulary, any).
        state: The state before the first step.
        ids: Indices (time, batch) into the table, or None.

    Returns:
        Outputs (time, batch, output_size) and the state after the last step.

    Raises:
        KernelInputError: Inputs, weights or state have another dtype or shape than those that the
            step was compiled for, or are not on the CPU.
        IndexError: An id is not in the table.
    """
    source = generated_code(cell)
    assert not isinstance(source, str), source
    weights = read_weights(cell, source)
    Wx = Wx.contiguous()
    if ids is not None:
        ids = check_token_ids(ids, len(Wx))
    if torch.is_grad_enabled():
        outputs, *last = CompiledFunction.apply(source, ids, Wx, *weights, *state)
    else:
        unroll = CompiledUnroll.allocate(
            source, Wx, ids, weights, list(state), needs_backward=False
        )
        outputs, *last = unroll.forward().results()
    return outputs, tuple(last)
