"""Cases of conformance checks: a cell at certain sizes, and the registry of checks on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.cells.loader import get_cell
from charlm.errors import CellCheckError
from charlm.kernels.loop import unroll_loop
from charlm.settings.values import Setting

TIME, BATCH, VOCABULARY, LONG_SEQUENCE = 11, 3, 9, 200
OTHER_OPTIONS: dict[str, Setting] = {"num_heads": 2, "eigenvalues": "signed"}  # than the defaults
FLOAT64_TOLERANCE = 1e-9  # two ways to the same number, whatever the order of their sums


class CellCase(NamedTuple):
    """A cell of these sizes, or the layer above such a cell."""

    name: str
    input_size: int
    hidden_size: int
    upper_layer: bool = False
    options: tuple[tuple[str, Setting], ...] = ()  # of the cell, that are not its defaults

    def __str__(self) -> str:
        options = "".join(f", {name} {value}" for name, value in self.options)
        layer = ", in an upper layer" if self.upper_layer else ""
        return f"{self.input_size} inputs and {self.hidden_size} units{options}{layer}"

    def make(self) -> Cell:
        """Return a new cell."""
        options: dict[str, Any] = dict(self.options)
        cell = get_cell(self.name)(self.input_size, self.hidden_size, **options)
        return cell.make_upper_layer(cell) if self.upper_layer else cell

    def randomized(self, deviation: float = 0.5) -> Cell:
        """Return a float64 copy of the cell with randomly perturbed parameters."""
        with isolated_rng(1):
            cell = self.make().double()
            for parameter in cell.parameters():
                parameter.data += deviation * random_tensor(*parameter.shape)
        return cell


def cell_cases(name: str) -> list[CellCase]:
    """Return the cases of a cell: inputs narrower than the units, and as wide with other options.

    If the layer above is another cell, it is a case too. There are 9 units, or the next multiple
    that the cell allows: kernels process eight at once.
    """
    cell_type = get_cell(name)
    multiple = cell_type.size_multiple()
    hidden_size = 9 if multiple == 1 else -(-8 // multiple) * multiple
    options = tuple((option, OTHER_OPTIONS[option]) for option in cell_type.options)
    cases = [CellCase(name, 5, hidden_size)]
    cases.append(CellCase(name, hidden_size, hidden_size, options=options))
    cell = cases[0].make()
    if type(cell.make_upper_layer(cell)) is not cell_type:
        cases.append(CellCase(name, 5, hidden_size, upper_layer=True))
    return cases


Check = Callable[[CellCase], None]  # raises CellCheckError with the problem
CHECKS: dict[str, Check] = {}  # by description, in the order in which they are run
REQUIRED_CHECKS: list[str] = []  # without which scores are meaningless: before every training


def check(description: str, required: bool = False) -> Callable[[Check], Check]:
    """Return a decorator that registers a check.

    Args:
        description: What holds for a sound cell, such as "step is pure".
        required: Whether a cell must pass it before it is trained.
    """

    def register(function: Check) -> Check:
        CHECKS[description] = function
        if required:
            REQUIRED_CHECKS.append(description)
        return function

    return register


def fail(problem: str) -> NoReturn:
    """Report the problem that a check found."""
    raise CellCheckError(problem)


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed the random numbers of this block and restore their state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def random_tensor(*shape: int) -> Tensor:
    """Return normal random numbers in float64."""
    return torch.randn(shape, dtype=torch.float64)  # also of no dimension, as a number has


def unroll_reference(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Unroll a cell with the plain loop."""
    return unroll_loop(cell, x, state, None)


@torch.no_grad()
def reachable_state(cell: Cell, batch_size: int = BATCH) -> State:
    """Return a state after some random inputs; not every tensor of its shapes is a valid state."""
    x = random_tensor(7, batch_size, cell.input_size)
    _, state = unroll_reference(cell, x, cell.initial_state(batch_size))
    return state


def named_state(cell: Cell, state: State) -> dict[str, Tensor]:
    """Return the parts of an initial state by name."""
    parts = zip(cell.states, state, strict=True)
    return {f"initial {name}": part for name, part in parts}


def relative_difference(value: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected number if that is above 1."""
    value, expected = value.detach(), expected.detach()
    return float((value - expected).abs().max() / expected.abs().max().clamp_min(1))
