"""Single steps of a cell over one stream, token by token, as they are used to generate text."""

from collections.abc import Callable

from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.kernels.compiled.single_token import CompiledTokenReader, single_token_code

ReadToken = Callable[[int], Tensor]  # token -> output (1, output_size), valid until the next call


class TokenReader:
    """A cell that reads one stream token by token and carries its state itself."""

    def __init__(self, cell: Cell, table: Tensor, state: State) -> None:
        """Start from a state.

        Args:
            cell: The cell.
            table: Projected input of each token (vocabulary, any).
            state: The state before the first token, of one stream.
        """
        self.cell, self.table, self.state = cell, table, state

    def __call__(self, token: int) -> Tensor:
        """Return the output (1, output_size) after a token."""
        self.state = self.cell.step(self.table[token, None], self.state)
        return self.state[0]


def make_token_reader(kernel: str, cell: Cell, table: Tensor, state: State) -> ReadToken:
    """Return the fastest way to take single steps that belongs to a kernel.

    A kernel for whole sequences gains nothing here: then it is the cell's own step, as it is for
    cells that are compiled in parts only.
    """
    if kernel == "compiled" and not isinstance(single_token_code(cell), str):
        return CompiledTokenReader(cell, table, state)
    return TokenReader(cell, table, state)
