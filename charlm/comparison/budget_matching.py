"""Equal footing: the hidden size with which each cell has as much of one measure as all others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from charlm.cells.loader import get_cell
from charlm.cells.names import cell_label
from charlm.config import Config, validate_config
from charlm.errors import ConfigError
from charlm.models.char_lm import CharLM
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.models.recurrent import ModelFactory, RecurrentModel

MAX_HIDDEN_SIZE = 2**20  # units of a layer
TOLERANCE = 0.01  # share of the amount that a cell misses at most
REFERENCE_CELL = "lstm"  # it has the parameters that were asked for, where another measure is equal
# What is counted of a model, from its settings and symbols; seconds per update are timed (pace.py).
BUDGET_MEASURES: dict[str, Callable[[Config, int, ModelFactory[RecurrentModel]], int]] = {
    "parameters": lambda *of: count_parameters_and_state(*of)[0],
    "flops": flops_per_character,
    "state": lambda *of: count_parameters_and_state(*of)[1],
}
BUDGET_LABELS = {
    "parameters": "parameters",
    "flops": "FLOPs per character",
    "state": "floats of state",
}


@dataclass(frozen=True)
class BudgetMatch:
    """What is equal, the hidden size that makes it so, and by what share each cell misses it."""

    measure: str  # parameters, flops, state or seconds
    parameters: int  # of every model; or of the LSTM that has the amount
    amount: float  # of the measure; seconds are counted in those of the LSTM's update
    hidden: Mapping[str, int]
    relative_errors: Mapping[str, float]

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
            off = max(map(abs, self.relative_errors.values()))
            said = f"as measured, within {100 * off:.1f} %"
            return f"All take the same seconds per update ({said}), {like}"
        equal = (
            f"All have {self.amount:,} {BUDGET_LABELS[self.measure]} (within {100 * TOLERANCE:g} %)"
        )
        return equal if self.measure == "parameters" else f"{equal}, {like}"


def with_hidden_size(config: Config, hidden: int) -> Config:
    """The same, but for its width; a tied table has that, too."""
    table = {"embedding_dim": hidden} if config.tie_weights else {}
    return msgspec.structs.replace(config, hidden_size=hidden, **table)


class SizeSearch:
    """How much a cell has of a measure, by its hidden size."""

    def __init__(
        self, config: Config, symbols: int, measure: str, kind: ModelFactory[RecurrentModel]
    ) -> None:
        self.cell, self.multiple = config.cell, get_cell(config.cell).hidden_size_multiple
        self.at: Callable[[int], int] = cache(
            lambda hidden: BUDGET_MEASURES[measure](with_hidden_size(config, hidden), symbols, kind)
        )

    def nearest(self, amount: int) -> int:
        """The hidden size that comes nearest to the amount."""
        low, high = self.multiple, 2 * self.multiple
        while self.at(high) < amount:
            low, high = high, 2 * high
            if high > MAX_HIDDEN_SIZE:
                raise ConfigError(
                    f"--params: no {cell_label(self.cell)} of at most {MAX_HIDDEN_SIZE:,} units comes near "
                    f"{amount:,}. Choose fewer, or more --num-layers"
                )
        while high - low > self.multiple:
            middle = (low + high) // 2 // self.multiple * self.multiple
            low, high = (middle, high) if self.at(middle) < amount else (low, middle)
        return min((low, high), key=lambda hidden: abs(self.at(hidden) - amount))

    def relative_error(self, amount: int) -> float:
        """The share of the amount by which the nearest misses it."""
        return self.at(self.nearest(amount)) / amount - 1


def reference_config(
    settings: Mapping[str, Any], symbols: int, kind: ModelFactory[RecurrentModel] = CharLM
) -> Callable[[int], Config]:
    """Parameters -> the settings of the LSTM that comes nearest to them."""
    config = validate_config({**settings, "cell": REFERENCE_CELL})
    sizes = SizeSearch(config, symbols, "parameters", kind)
    return lambda parameters: with_hidden_size(config, sizes.nearest(parameters))


def match_budget(
    settings: Mapping[str, Any],
    cells: Sequence[str],
    parameters: int,
    symbols: int,
    measure: str = "parameters",
    kind: ModelFactory[RecurrentModel] = CharLM,
    tolerance: float = TOLERANCE,
) -> BudgetMatch:
    """Cells that all have the same of a measure that is counted; or an error that says how many
    parameters would do."""
    amount: Callable[[int], int] = int
    if measure != "parameters":
        like = reference_config(settings, symbols, kind)
        amount = cache(lambda count: BUDGET_MEASURES[measure](like(count), symbols, kind))
    wanted = amount(parameters)
    sizes = [
        SizeSearch(validate_config({**settings, "cell": cell}), symbols, measure, kind)
        for cell in dict.fromkeys(cells)
    ]
    hidden = {one.cell: one.nearest(wanted) for one in sizes}
    residual = {one.cell: one.relative_error(wanted) for one in sizes}
    sizes.sort(key=lambda one: -abs(residual[one.cell]))  # the worst rules out the most
    worst = sizes[0]
    if abs(residual[worst.cell]) > tolerance:

        def suits(count: int) -> bool:
            return all(abs(one.relative_error(amount(count))) <= tolerance for one in sizes)

        raise ConfigError(
            f"--params {parameters}: {cell_label(worst.cell)} of {hidden[worst.cell]} units misses "
            f"the {wanted:,} {BUDGET_LABELS[measure]} by {residual[worst.cell]:+.2%}, and more than "
            f"{100 * tolerance:g} % is no equal footing. {suggest_budgets(parameters, suits)}"
        )
    return BudgetMatch(measure, parameters, wanted, hidden, residual)


def suggest_budgets(parameters: int, suits: Callable[[int], bool]) -> str:
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
    return f"--params {' or '.join(map(str, found))} suits all of these cells"
