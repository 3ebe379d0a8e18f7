"""What every cell promises, and every kernel that walks it; also for a cell of one's own.

A broken promise is one line: which, at which sizes, by how much.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.cells.loader import format_exception, get_cell
from charlm.errors import CellCheckError
from charlm.kernels.loop import unroll_loop

TIME, BATCH, SYMBOLS, LONG_SEQUENCE = 11, 3, 9, 200
FLOAT64_TOLERANCE = 1e-9  # two ways to the same float64, whatever the order of their sums


class CellCase(NamedTuple):
    """A cell of these sizes; above: the one that reads what such a cell hands on."""

    name: str
    inputs: int
    hidden: int
    upper_layer: bool = False

    def __str__(self) -> str:
        above = ", in an upper layer" if self.upper_layer else ""
        return f"{self.inputs} inputs and {self.hidden} units{above}"

    def make(self) -> Cell:
        cell = get_cell(self.name)(self.inputs, self.hidden)
        return cell.make_upper_layer(cell) if self.upper_layer else cell

    def randomized(self, deviation: float = 0.5) -> Cell:
        """In float64, and no weight at its convenient start."""
        with isolated_rng(1):
            cell = self.make().double()
            for parameter in cell.parameters():
                parameter.data += deviation * random_tensor(*parameter.shape)
        return cell


def cell_cases(name: str) -> list[CellCase]:
    """What is held to the promises: inputs that are not as wide as the units, and that are; and the
    layer above, where that is another cell. 9 units, if they may be: kernels take eight at once."""
    kind = get_cell(name)
    hidden = (
        9
        if kind.hidden_size_multiple == 1
        else -(-8 // kind.hidden_size_multiple) * kind.hidden_size_multiple
    )
    found = [CellCase(name, 5, hidden), CellCase(name, hidden, hidden)]
    cell = found[0].make()
    above = type(cell.make_upper_layer(cell)) is not kind
    return [*found, CellCase(name, 5, hidden, upper_layer=True)] if above else found


Check = Callable[[CellCase], None]
CHECKS: dict[str, Check] = {}
REQUIRED_CHECKS: list[
    str
] = []  # those without which a score means nothing: training asks for no more


def check(text: str, sound: bool = False) -> Callable[[Check], Check]:
    def put(check: Check) -> Check:
        CHECKS[text] = check
        if sound:
            REQUIRED_CHECKS.append(text)
        return check

    return put


def run_check(name: str, text: str) -> str:
    """How the loaded cell of that name breaks the promise of that text; "" if it keeps it."""
    shape = ""
    try:
        for subject in cell_cases(name):
            shape = f"with {subject}: "
            with isolated_rng(0):
                CHECKS[text](subject)
    except Exception as error:  # a foreign cell may raise anything
        return f"{shape}{error if isinstance(error, CellCheckError) else format_exception(error)}"
    return ""


def require(name: str, texts: Iterable[str]) -> None:
    """Raises BrokenPromise if the cell breaks one of these."""
    for text in texts:
        if said := run_check(name, text):
            raise CellCheckError(f"{name}: {text}, but {said}")


def fail(problem: str) -> NoReturn:
    raise CellCheckError(problem)


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Random numbers that nobody else's depend on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def random_tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def unroll_reference(cell: Cell, x: Tensor, start: State) -> tuple[Tensor, State]:
    return unroll_loop(cell, x, start, None)


@torch.no_grad()
def reachable_state(cell: Cell, batch: int = BATCH) -> State:
    """A state that reading leads to: not every state that one could make up is one."""
    _, state = unroll_reference(
        cell, random_tensor(7, batch, cell.input_size), cell.initial_state(batch)
    )
    return state


def relative_difference(one: Tensor, other: Tensor) -> float:
    """The largest difference; where the numbers are large, as a share of the largest."""
    one, other = one.detach(), other.detach()
    return float((one - other).abs().max() / other.abs().max().clamp_min(1))
