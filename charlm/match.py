"""Equal footing: the hidden size with which each cell has as much of one measure as all others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from charlm.catalogue import flops_per_character
from charlm.config import Config, checked, label
from charlm.errors import BadConfig
from charlm.model import CharLM, Kind, Recurrence, size
from charlm.zoo import find

LARGEST = 2**20  # units of a layer
TOLERANCE = 0.01  # share of the amount that a cell misses at most
REFERENCE = "lstm"  # it has the parameters that were asked for, where another measure is equal
# What is counted of a model, from its settings and symbols; seconds per update are timed (pace.py).
COUNTED: dict[str, Callable[[Config, int, Kind[Recurrence]], int]] = {
    "parameters": lambda *of: size(*of)[0],
    "flops": flops_per_character,
    "state": lambda *of: size(*of)[1],
}
WORDS = {
    "parameters": "parameters",
    "flops": "FLOPs per character",
    "state": "floats of state",
}


@dataclass(frozen=True)
class Footing:
    """What is equal, the hidden size that makes it so, and by what share each cell misses it."""

    measure: str  # parameters, flops, state or seconds
    parameters: int  # of every model; or of the LSTM that has the amount
    amount: float  # of the measure; seconds are counted in those of the LSTM's update
    hidden: Mapping[str, int]
    residual: Mapping[str, float]

    @property
    def facts(self) -> dict[str, Any]:
        """For a report: all but what each row has."""
        own = {"measure": self.measure, "amount": self.amount, "parameters": self.parameters}
        return {**own, "told": self.told}

    @property
    def told(self) -> str:
        """In words."""
        like = f"as an LSTM of {self.parameters:,} parameters"
        if self.measure == "seconds":
            off = max(map(abs, self.residual.values()))
            said = f"as measured, within {100 * off:.1f} %"
            return f"All take the same seconds per update ({said}), {like}"
        equal = f"All have {self.amount:,} {WORDS[self.measure]} (within {100 * TOLERANCE:g} %)"
        return equal if self.measure == "parameters" else f"{equal}, {like}"


def with_units(config: Config, hidden: int) -> Config:
    """The same, but for its width; a tied table has that, too."""
    table = {"embedding": hidden} if config.tie else {}
    return msgspec.structs.replace(config, hidden=hidden, **table)


class Sizes:
    """How much a cell has of a measure, by its hidden size."""

    def __init__(self, config: Config, symbols: int, measure: str, kind: Kind[Recurrence]) -> None:
        self.cell, self.multiple = config.cell, find(config.cell).multiple
        self.at: Callable[[int], int] = cache(
            lambda hidden: COUNTED[measure](with_units(config, hidden), symbols, kind)
        )

    def nearest(self, amount: int) -> int:
        """The hidden size that comes nearest to the amount."""
        low, high = self.multiple, 2 * self.multiple
        while self.at(high) < amount:
            low, high = high, 2 * high
            if high > LARGEST:
                raise BadConfig(
                    f"--parameters: no {label(self.cell)} of at most {LARGEST:,} units comes near "
                    f"{amount:,}. Choose fewer, or more --layers"
                )
        while high - low > self.multiple:
            middle = (low + high) // 2 // self.multiple * self.multiple
            low, high = (middle, high) if self.at(middle) < amount else (low, middle)
        return min((low, high), key=lambda hidden: abs(self.at(hidden) - amount))

    def off(self, amount: int) -> float:
        """The share of the amount by which the nearest misses it."""
        return self.at(self.nearest(amount)) / amount - 1


def reference(
    settings: Mapping[str, Any], symbols: int, kind: Kind[Recurrence] = CharLM
) -> Callable[[int], Config]:
    """Parameters -> the settings of the LSTM that comes nearest to them."""
    config = checked({**settings, "cell": REFERENCE})
    sizes = Sizes(config, symbols, "parameters", kind)
    return lambda parameters: with_units(config, sizes.nearest(parameters))


def equal(
    settings: Mapping[str, Any],
    cells: Sequence[str],
    parameters: int,
    symbols: int,
    measure: str = "parameters",
    kind: Kind[Recurrence] = CharLM,
    tolerance: float = TOLERANCE,
) -> Footing:
    """Cells that all have the same of a measure that is counted; or an error that says how many
    parameters would do."""
    amount: Callable[[int], int] = int
    if measure != "parameters":
        like = reference(settings, symbols, kind)
        amount = cache(lambda count: COUNTED[measure](like(count), symbols, kind))
    wanted = amount(parameters)
    sizes = [
        Sizes(checked({**settings, "cell": cell}), symbols, measure, kind)
        for cell in dict.fromkeys(cells)
    ]
    hidden = {one.cell: one.nearest(wanted) for one in sizes}
    residual = {one.cell: one.off(wanted) for one in sizes}
    sizes.sort(key=lambda one: -abs(residual[one.cell]))  # the worst rules out the most
    worst = sizes[0]
    if abs(residual[worst.cell]) > tolerance:

        def suits(count: int) -> bool:
            return all(abs(one.off(amount(count))) <= tolerance for one in sizes)

        raise BadConfig(
            f"--parameters {parameters}: {label(worst.cell)} of {hidden[worst.cell]} units misses "
            f"the {wanted:,} {WORDS[measure]} by {residual[worst.cell]:+.2%}, and more than "
            f"{100 * tolerance:g} % is no equal footing. {advice(parameters, suits)}"
        )
    return Footing(measure, parameters, wanted, hidden, residual)


def advice(parameters: int, suits: Callable[[int], bool]) -> str:
    """Which round numbers of parameters, at least half and less than twice as many, would do."""
    step = 10 ** max(0, len(str(parameters)) - 3)
    below = parameters - parameters % step
    ways: list[Iterable[int]] = [
        range(below, parameters // 2, -step),
        range(below + step, 2 * parameters, step),
    ]
    found = [count for way in ways for count in [next(filter(suits, way), None)] if count]
    if not found:
        return "Nor does any number near: leave that cell out, or choose many more"
    return f"--parameters {' or '.join(map(str, found))} suits all of these cells"
