"""Cells of the package torchrecurrent, adapted: each with the settings that it has by default.

A class is made from what the package's class does at two small sizes: which states it has, how wide
they are, whether it reads its last output, how many parameters it has and what a step costs.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from charlm.cells.base import Cell, State
from charlm.cells.names import PACKAGE
from charlm.errors import ConfigError

INPUTS, UNITS = 2, 3  # sizes at which a class is examined
SIZES = [(2, 3), (3, 2), (2, 2), (5, 3), (3, 7), (4, 4), (7, 5)]  # where its costs are counted
TERMS = {"HX": (1, 1), "H*H": (0, 2), "H": (0, 1), "X": (1, 0), "": (0, 0)}  # exponents of X and H


class PackageCell(Cell):
    """A cell of the package: an abstract class."""

    foreign: ClassVar[type[nn.Module]]
    output_is_separate: ClassVar[bool]  # its output is no part of the state that it takes
    is_as_wide_as_input: ClassVar[tuple[bool, ...]]  # for each part of the state
    recurrent_names: ClassVar[tuple[str, ...]]  # parameters that are square matrices, stacked
    flop_terms: ClassVar[dict[str, int]]  # coefficients of TERMS

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.cell = self.foreign(input_size, hidden_size, device=torch.get_default_device())

    @property
    def flops(self) -> int:
        """FLOPs of the matrix products of a step, as PyTorch counts them."""
        X, H = self.input_size, self.hidden_size
        exponents = ((count, *TERMS[term]) for term, count in self.flop_terms.items())
        return sum(count * X**x * H**h for count, x, h in exponents)

    def initial_state(self, batch_size: int) -> State:
        """Return zeros, each (batch, hidden_size) or, for the last input, (batch, input_size)."""
        zeros = next(self.parameters()).new_zeros
        sizes = self.hidden_size, self.input_size
        return tuple(zeros(batch_size, sizes[is_wide]) for is_wide in self.is_as_wide_as_input)

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return x: the package's cells project it in their step."""
        return x

    def step(self, Wx: Tensor, state: State) -> State:
        """Return the output and the other parts of the state."""
        taken = state[1:] if self.output_is_separate else state
        after = flatten(self.cell(Wx, taken if len(taken) > 1 else taken[0]))
        return tuple(
            part.clone() if any(part is other for other in (Wx, *after[:index])) else part
            for index, part in enumerate(after)  # the parts of a state share no memory
        )

    def recurrent_matrices(self) -> Iterator[Tensor]:
        """Yield the square matrices of what the package calls weight_hh."""
        for name in self.recurrent_names:
            yield from self.cell.get_parameter(name).data.split(self.hidden_size)


@cache
def make_package_cell(name: str) -> type[Cell]:
    """Return the class of a cell of the package, such as torchrecurrent:NAS.

    Raises:
        ConfigError: It cannot have other numbers of inputs than of units.
    """
    own_name = name.partition(":")[2]
    foreign: type[nn.Module] = getattr(import_module(PACKAGE), f"{own_name}Cell")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        try:
            cell = foreign(INPUTS, UNITS)
        except ValueError as error:
            reason = " ".join(str(error).split()).partition(" (")[0]
            raise ConfigError(f"cannot use the cell {name}: {reason}. Try another") from None
        for parameter in cell.parameters():
            nn.init.normal_(parameter)
        zeros = flatten(cell(torch.zeros(1, INPUTS), None))
        is_separate = _has_separate_output(foreign)
        names = [key for key, value in cell.named_parameters() if _is_recurrent(key, value)]
        attributes = {
            "__doc__": _describe(own_name, foreign),
            "__module__": __name__,
            "foreign": foreign,
            "states": (("y", "h", "c") if is_separate else ("h", "c"))[: len(zeros)],
            "output_is_separate": is_separate,
            "is_as_wide_as_input": tuple(part.shape[1] == INPUTS for part in zeros),
            "recurrent_names": tuple(names),
            "flop_terms": _fit(lambda x, h: _count_flops(foreign(x, h), x)),
        }
        made: type[PackageCell] = type(own_name, (PackageCell,), attributes)
        made.output_is_readout = not _reads_output(made(INPUTS, UNITS))
    return made


def flatten(parts: Any) -> State:
    """Return the tensors of nested tuples in order."""
    if isinstance(parts, Tensor):
        return (parts,)
    return tuple(tensor for part in parts for tensor in flatten(part))


def _has_separate_output(foreign: type[nn.Module]) -> bool:
    """Return whether a step returns (output, state), and the state has no output."""
    return any(kind.__name__.startswith("Decoupled") for kind in foreign.__mro__)


def _is_recurrent(name: str, value: Tensor) -> bool:
    """Return whether a parameter of a cell with UNITS units is a stack of square matrices."""
    return name.startswith("weight_hh") and value.dim() == 2 and value.shape[1] == UNITS


def _reads_output(cell: Cell) -> bool:
    """Return whether a step depends on state[0]."""
    for parameter in cell.parameters():
        nn.init.normal_(parameter)
    _, *rest = cell.initial_state(1)
    x, outputs = torch.randn(1, INPUTS), torch.randn(2, 1, UNITS)
    first, second = (cell.step(x, (output, *rest)) for output in outputs)
    return not all(map(torch.equal, first, second))


def _count_flops(cell: nn.Module, input_size: int) -> int:
    with FlopCounterMode(display=False) as counter:
        cell(torch.zeros(1, input_size), None)
    return int(counter.get_total_flops())


def _fit(count: Callable[[int, int], int]) -> dict[str, int]:
    """Return the coefficients of TERMS with which they give a count at all SIZES."""
    matrix = np.array([[X**x * H**h for x, h in TERMS.values()] for X, H in SIZES])
    counts = np.array([count(*sizes) for sizes in SIZES])
    solution = np.rint(np.linalg.lstsq(matrix, counts)[0]).astype(int)
    if (matrix @ solution != counts).any():
        raise ConfigError(
            f"cannot use a cell of {PACKAGE} {version(PACKAGE)} whose size is no polynomial of its "
            "inputs and units. Try another"
        )
    return {term: int(factor) for term, factor in zip(TERMS, solution, strict=True) if factor}


def _describe(name: str, foreign: type[nn.Module]) -> str:
    """Return the docstring of a class, with the formula of its parameters."""
    terms = _fit(lambda x, h: sum(value.numel() for value in foreign(x, h).parameters()))
    formula = " + ".join(
        f"{count if count > 1 or not term else ''}{term}" for term, count in terms.items()
    )
    return (
        f"{name} of {PACKAGE} {version(PACKAGE)}, with the settings that it has by default.\n\n"
        f"Parameters: {formula} for X inputs and H units."
    )
