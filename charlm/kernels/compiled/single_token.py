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
from charlm.kernels.compiled.compiler import data_pointer
from charlm.kernels.compiled.layout import GeneratedCode
from charlm.kernels.compiled.runtime import pointer_array, read_weights
from charlm.kernels.compiled.trace import cached_trace, trace_step


def single_token_code(cell: Cell) -> GeneratedCode | str:
    """Return the C of this cell's step for one token, or the reason why there is none."""
    return cached_trace(cell, _generate)


def _generate(cell: Cell) -> GeneratedCode:
    return generate_single_token(trace_step(cell))


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
        """
        source = single_token_code(cell)
        assert not isinstance(source, str), source
        weights, count = read_weights(cell, source), len(source.vectors)
        self.vectors, self.matrices = weights[:count], weights[count:]
        self.table = table.contiguous()
        self.buffers = (
            table.new_empty(source.saved_size),
            table.new_empty(source.workspace_size),
        )
        self.advance = _load_advance(source.text, table.dtype)
        self._use([torch.stack((part, part), 1) for part in state])  # before and after a step

    def _use(self, state: list[Tensor]) -> None:
        """Continue with a state, parts (streams, 2, width), that C changes in place."""
        saved, workspace = self.buffers
        self.state, self.output = state, state[0][:, 1]
        self.tokens = (ctypes.c_int64 * len(state[0]))()
        self.arguments = (
            ctypes.c_long(len(self.tokens)), self.tokens, data_pointer(self.table),
            pointer_array(state), pointer_array(self.vectors), pointer_array(self.matrices),
            data_pointer(saved), data_pointer(workspace),
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

    def select(self, streams: Sequence[int]) -> None:
        """Continue with copies of these streams."""
        self._use([part[list(streams)].contiguous() for part in self.state])
