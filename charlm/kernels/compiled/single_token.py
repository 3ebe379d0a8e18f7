"""Compiled step, token by token, as it is used to generate text."""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.codegen import generate_single_token
from charlm.kernels.compiled.kernel_cache import UnavailableKernelError
from charlm.kernels.compiled.layout import GeneratedCode
from charlm.kernels.compiled.pointers import (
    check_count,
    check_tensor,
    data_pointer,
    pointer_array,
)
from charlm.kernels.compiled.runtime import read_weights
from charlm.kernels.compiled.trace import cached_trace, trace_step


def single_token_code(cell: Cell) -> GeneratedCode | str:
    """Return the C of this cell's step for one token, or the reason why there is none."""
    return cached_trace(cell, _generate)


def _generate(cell: Cell) -> GeneratedCode:
    return generate_single_token(trace_step(cell))


def single_token_problem(cell: Cell) -> str:
    """Return why no step of this cell can be compiled and built for one token, or ""."""
    code = single_token_code(cell)
    if isinstance(code, str):
        return code
    try:
        _load_advance(code.text, next(cell.parameters()).dtype)
    except UnavailableKernelError as error:
        return error.reason
    return ""


@cache
def _load_advance(text: str, dtype: torch.dtype) -> Any:
    """Return the C function `advance_streams` of a generated text."""
    return compiler.load_library(f"#define REAL {dtype.itemsize}\n{text}").advance_streams


class CompiledTokenReader:
    """`single_step.TokenReader` in C: a call costs little more than the steps."""

    def __init__(self, cell: Cell, table: Tensor, state: State) -> None:
        """Allocate all buffers.

        Args:
            cell: A cell whose step can be compiled (`single_token_code`).
            table: Projected input of each token (vocabulary, any).
            state: The state before the first token of each stream.

        Raises:
            KernelInputError: Table, weights or state have another dtype or shape than those that
                the step was compiled for, or are not on the CPU.
        """
        source = single_token_code(cell)
        assert not isinstance(source, str), source
        self.source, self.dtype = source, table.dtype
        # Detached, they keep the memory that C reads, even if a parameter gets another one.
        weights = [weight.detach() for weight in read_weights(cell, source)]
        self.vectors = weights[: len(source.vectors)]
        self.matrices = weights[len(source.vectors) :]
        self.table = table.detach().contiguous()
        parts = [(len(state[0]), width) for width in source.widths]
        check_count(state, len(parts), "the state")
        for part, shape in zip(state, parts, strict=True):
            check_tensor(part, self.dtype, shape, "the state", any_strides=True)
        self.buffers = (
            table.new_empty(source.saved_size),
            table.new_empty(source.workspace_size),
        )
        self.advance = _load_advance(source.text, table.dtype)
        self._use([torch.stack((part, part), 1) for part in state])  # before and after a step

    def _use(self, state: list[Tensor]) -> None:
        """Continue with a state, parts (streams, 2, width), that C changes in place."""
        source, dtype, table, streams = self.source, self.dtype, self.table, len(state[0])
        saved, workspace = self.buffers
        self.state, self.output = state, state[0][:, 1]
        self.tokens = (ctypes.c_int64 * streams)()
        parts = [(streams, 2, width) for width in source.widths]
        self.arguments = (
            ctypes.c_long(streams), self.tokens,
            data_pointer(table, dtype, (len(table), source.inputs), "the projected input"),
            pointer_array(state, dtype, parts, "the state"),
            pointer_array(self.vectors, dtype, source.vector_shapes, "a vector of weights"),
            pointer_array(self.matrices, dtype, source.matrix_shapes, "a matrix of weights"),
            data_pointer(saved, dtype, (source.saved_size,), "what was saved"),
            data_pointer(workspace, dtype, (source.workspace_size,), "the workspace"),
        )  # fmt: skip

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """Return the outputs (streams, output_size) after a token of each stream.

        The next call overwrites them.

        Raises:
            IndexError: A token is not in the table.
        """
        for token in tokens:
            if not 0 <= token < len(self.table):  # C would read beyond it
                raise IndexError(f"token {token} is not in the table of {len(self.table)} tokens")
        self.tokens[:] = list(tokens)
        self.advance(*self.arguments)
        return self.output

    def reset(self, streams: Sequence[int], state: State) -> Tensor:
        """Continue these streams from the state of one stream; return the outputs of all."""
        for part, value in zip(self.state, state, strict=True):
            part[list(streams)] = value.detach()  # before and after a step
        return self.output

    def select(self, streams: Sequence[int]) -> None:
        """Continue with copies of these streams."""
        self._use([part[list(streams)].contiguous() for part in self.state])
