"""Compiled step for one stream, token by token, as it is used to generate text."""

import ctypes
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
    """Return the C function `advance` of a generated text."""
    return compiler.load_library(f"#define REAL {dtype.itemsize}\n{text}").advance


class CompiledTokenReader:
    """`single_step.TokenReader` in C: a call costs little more than the step."""

    def __init__(self, cell: Cell, table: Tensor, state: State) -> None:
        """Allocate all buffers.

        Args:
            cell: A cell whose step can be compiled (`single_token_code`).
            table: Projected input of each token (vocabulary, any).
            state: The state before the first token, of one stream.
        """
        source = single_token_code(cell)
        assert not isinstance(source, str), source
        weights, count = read_weights(cell, source), len(source.vectors)
        self.table = table.contiguous()
        self.token = ctypes.c_int64()
        self.state = [torch.cat((part, part)) for part in state]  # before and after a step
        saved, workspace = (
            table.new_empty(source.saved_size),
            table.new_empty(source.workspace_size),
        )
        self.tensors = weights, saved, workspace  # C has their addresses
        self.advance = _load_advance(source.text, table.dtype)
        self.arguments = (
            ctypes.byref(self.token), data_pointer(self.table), pointer_array(self.state),
            pointer_array(weights[:count]), pointer_array(weights[count:]),
            data_pointer(saved), data_pointer(workspace),
        )  # fmt: skip
        self.output = self.state[0][1:]

    def __call__(self, token: int) -> Tensor:
        """Return the output (1, output_size) after a token; the next call overwrites it.

        Raises:
            IndexError: The token is not in the table.
        """
        if not 0 <= token < len(self.table):  # C would read beyond it
            raise IndexError(f"token {token} is not in the table of {len(self.table)} tokens")
        self.token.value = token
        self.advance(*self.arguments)
        return self.output
