"""Single steps of a cell over streams, token by token, as they are used to generate text."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.kernels.compiled.single_token import CompiledTokenReader, single_token_problem


class ReadTokens(Protocol):
    """Reader of streams. What a stream gives does not depend on the streams beside it."""

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """Return the outputs (streams, output_size) after a token of each stream.

        They are valid until the next call.
        """
        ...

    def reset(self, streams: Sequence[int], state: State) -> Tensor:
        """Continue these streams from the state of one stream; return the outputs of all."""
        ...

    def select(self, streams: Sequence[int]) -> None:
        """Continue with copies of these streams."""
        ...


class TokenReader:
    """A cell that reads streams token by token and carries their states itself.

    Streams are read one by one: products of several rows may be rounded in another way.
    """

    def __init__(self, cell: Cell, table: Tensor, state: State) -> None:
        """Start from a state.

        Args:
            cell: The cell.
            table: Projected input of each token (vocabulary, any).
            state: The state before the first token of each stream.
        """
        self.cell, self.table = cell, table
        self.states = [tuple(part[row, None] for part in state) for row in range(len(state[0]))]

    def __call__(self, tokens: Sequence[int]) -> Tensor:
        """Return the outputs (streams, output_size) after a token of each stream."""
        self.states = [
            self.cell.step(self.table[token, None], state)
            for token, state in zip(tokens, self.states, strict=True)
        ]
        return torch.cat([state[0] for state in self.states])

    def reset(self, streams: Sequence[int], state: State) -> Tensor:
        """Continue these streams from the state of one stream; return the outputs of all."""
        for stream in streams:
            self.states[stream] = state
        return torch.cat([each[0] for each in self.states])

    def select(self, streams: Sequence[int]) -> None:
        """Continue with copies of these streams; no step changes a state in place."""
        self.states = [self.states[stream] for stream in streams]


class StepKernel(NamedTuple):
    """Kernel that takes single steps."""

    name: Literal["compiled", "loop"]
    reason: str = ""  # why it is not compiled


def single_step_kernel(kernel: str, cell: Cell) -> StepKernel:
    """Return the fastest kernel for single steps that belongs to a kernel.

    A kernel for whole sequences gains nothing here: then it is the cell's own step, as it is for
    cells that are compiled in parts only.
    """
    if kernel != "compiled":
        return StepKernel("loop", f"{kernel} reads whole texts only")
    problem = single_token_problem(cell)
    return StepKernel("loop", problem) if problem else StepKernel("compiled")


def make_token_reader(kernel: str, cell: Cell, table: Tensor, state: State) -> ReadTokens:
    """Return the reader of streams by `single_step_kernel`."""
    if single_step_kernel(kernel, cell).name == "compiled":
        return CompiledTokenReader(cell, table, state)
    return TokenReader(cell, table, state)
