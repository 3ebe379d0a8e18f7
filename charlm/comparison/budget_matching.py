"""Budget matching: the hidden size of each cell with which all models have the same budget.

The budget is a number of parameters, of FLOPs per character, or of floats of state. Models that
take the same time per step are matched by time_matching.py.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import msgspec

from charlm.cells.loader import get_cell
from charlm.cells.names import cell_label
from charlm.config import Config, validate_config
from charlm.errors import ConfigError
from charlm.models.cell_options import check_shared_options, settings_for
from charlm.models.char_lm import CharLM
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.models.recurrent import ModelFactory, RecurrentModel
from charlm.results.comparison_plan import Matching, Measure
from charlm.settings.values import Setting

log = logging.getLogger("charlm")

MAX_HIDDEN_SIZE = 2**20
BUDGET_TOLERANCE = 0.01  # largest relative error of a matched budget
BUDGET_CELL = "lstm"  # defines the budget of every measure but parameters

MAX_SUGGESTION = 100_000_000  # parameters; a larger number is not suggested

CountedMeasure = Literal["params", "flops", "state"]
BUDGET_MEASURES: dict[str, Callable[[Config, int, ModelFactory[RecurrentModel]], int]] = {
    "params": lambda *model: count_parameters_and_state(*model)[0],
    "flops": flops_per_character,
    "state": lambda *model: count_parameters_and_state(*model)[1],
}
MEASURE_UNITS = {
    "params": "parameters",
    "flops": "FLOPs per character",
    "state": "floats of state",
}


@dataclass(frozen=True)
class BudgetMatch:
    """Hidden sizes with which all cells have the same budget.

    Attributes:
        measure: Quantity that is matched.
        parameters: Parameters of every model, or of the LSTM that defines the budget.
        amount: The budget; for time, 1: the step time of that LSTM.
        hidden_sizes: Cell -> hidden size.
        relative_errors: Cell -> relative error of the budget.
    """

    measure: Measure
    parameters: int
    amount: float
    hidden_sizes: Mapping[str, int]
    relative_errors: Mapping[str, float]

    def matching(self, characters: int | None, max_steps: int | None) -> Matching:
        """Return what reports say about the budget.

        Args:
            characters: That each run reads; None where there is no text.
            max_steps: Optimizer steps of each run; None where they differ.
        """
        return Matching(
            measure=self.measure,
            amount=float(self.amount),
            parameters=self.parameters,
            tolerance=BUDGET_TOLERANCE,
            max_relative_error=max(map(abs, self.relative_errors.values())),
            characters=characters,
            max_steps=max_steps,
        )


def with_hidden_size(config: Config, hidden_size: int) -> Config:
    """Return a config with this hidden size, and as wide an embedding if it is tied."""
    if config.tie_weights:
        return msgspec.structs.replace(config, hidden_size=hidden_size, embedding_dim=hidden_size)
    return msgspec.structs.replace(config, hidden_size=hidden_size)


class SizeSearch:
    """Search for the hidden size with which a model has a given budget."""

    def __init__(
        self,
        config: Config,
        vocabulary_size: int,
        measure: CountedMeasure,
        model_class: ModelFactory[RecurrentModel] = CharLM,
    ) -> None:
        self.cell = config.cell
        self.multiple = get_cell(config.cell).size_multiple(config.num_heads)
        count = BUDGET_MEASURES[measure]
        self.amount_at: Callable[[int], int] = cache(
            lambda hidden_size: count(
                with_hidden_size(config, hidden_size), vocabulary_size, model_class
            )
        )

    def nearest(self, amount: int) -> int:
        """Return the hidden size whose budget is nearest to `amount`.

        Raises:
            ConfigError: The largest allowed model has less.
        """
        low, high = self.multiple, 2 * self.multiple
        while self.amount_at(high) < amount:
            low, high = high, 2 * high
            if high > MAX_HIDDEN_SIZE:
                raise ConfigError(
                    f"cannot match --params: no {cell_label(self.cell)} of at most "
                    f"{MAX_HIDDEN_SIZE:,} units comes near {amount:,}. "
                    "Try fewer, or more --num-layers"
                )
        while high - low > self.multiple:
            middle = (low + high) // 2 // self.multiple * self.multiple
            low, high = (middle, high) if self.amount_at(middle) < amount else (low, middle)
        return min((low, high), key=lambda hidden_size: abs(self.amount_at(hidden_size) - amount))

    def relative_error(self, amount: int) -> float:
        """Return the relative error of the nearest budget."""
        return self.amount_at(self.nearest(amount)) / amount - 1


def budget_config(
    settings: Mapping[str, Setting],
    vocabulary_size: int,
    model_class: ModelFactory[RecurrentModel] = CharLM,
) -> Callable[[int], Config]:
    """Return a function: parameters -> config of the LSTM that is nearest to them."""
    config = validate_config(settings_for(BUDGET_CELL, settings))
    sizes = SizeSearch(config, vocabulary_size, "params", model_class)
    return lambda parameters: with_hidden_size(config, sizes.nearest(parameters))


def match_budget(
    settings: Mapping[str, Setting],
    cells: Sequence[str],
    parameters: int,
    vocabulary_size: int,
    measure: CountedMeasure = "params",
    model_class: ModelFactory[RecurrentModel] = CharLM,
    *,
    tolerance: float = BUDGET_TOLERANCE,
    adjust: bool = True,
) -> BudgetMatch:
    """Choose the hidden size of each cell so that all models have the same budget.

    Cells grow in steps, so a budget may not suit all of them. Then the nearest number of
    parameters that does is taken, and logged.

    Args:
        settings: Settings that all models share.
        cells: Names of the cells.
        parameters: Parameters of every model, or of the LSTM that defines the budget.
        vocabulary_size: Tokens, or inputs of another model class.
        measure: Quantity to match.
        model_class: What the cells are built into.
        tolerance: Largest relative error.
        adjust: Whether another number of parameters may be taken.

    Raises:
        ConfigError: No cell has an option that is given; or no budget near suits all cells, or
            `parameters` does not and may not be adjusted.
    """
    check_shared_options(settings, cells)
    budget: Callable[[int], int] = int
    if measure != "params":
        lstm_with = budget_config(settings, vocabulary_size, model_class)
        budget = cache(
            lambda count: BUDGET_MEASURES[measure](lstm_with(count), vocabulary_size, model_class)
        )
    searches = [
        SizeSearch(
            validate_config(settings_for(cell, settings)), vocabulary_size, measure, model_class
        )
        for cell in dict.fromkeys(cells)
    ]

    def worst_first(amount: int) -> list[SizeSearch]:
        return sorted(searches, key=lambda sizes: -abs(sizes.relative_error(amount)))

    worst, *_ = by_error = worst_first(budget(parameters))
    error = worst.relative_error(budget(parameters))
    if abs(error) > tolerance:

        def is_suitable(count: int) -> bool:
            return all(abs(sizes.relative_error(budget(count))) <= tolerance for sizes in by_error)

        suitable = nearest_budgets(parameters, is_suitable) if adjust else []
        if not suitable:
            amount = budget(parameters)
            size = worst.nearest(amount)
            raise ConfigError(
                f"cannot match {amount:,} {MEASURE_UNITS[measure]} within {_percent(tolerance)}: "
                f"the nearest {cell_label(worst.cell)} ({_units(size)}) has "
                f"{worst.amount_at(size):,}. {_suggestion(parameters, is_suitable)}"
            )
        log.info(
            "using %s parameters instead of %s: the nearest number that suits all cells within %s",
            f"{suitable[0]:,}", f"{parameters:,}", _percent(tolerance),
        )  # fmt: skip
        parameters = suitable[0]
    amount = budget(parameters)
    return BudgetMatch(
        measure=measure,
        parameters=parameters,
        amount=amount,
        hidden_sizes={sizes.cell: sizes.nearest(amount) for sizes in searches},
        relative_errors={sizes.cell: sizes.relative_error(amount) for sizes in searches},
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count:,} units"


def _suggestion(parameters: int, is_suitable: Callable[[int], bool]) -> str:
    """Return which number of parameters to try instead, the nearest or a larger one."""
    while parameters <= MAX_SUGGESTION:
        if counts := nearest_budgets(parameters, is_suitable):
            return f"Try --params {counts[0]}"
        parameters *= 4
    return "Try other cells"


def nearest_budgets(parameters: int, is_suitable: Callable[[int], bool]) -> list[int]:
    """Return the nearest suitable round numbers below and above `parameters`, nearest first.

    Only numbers from half to twice as many are tried.
    """
    step = 10 ** max(0, len(str(parameters)) - 3)
    below = parameters - parameters % step
    directions: list[Iterable[int]] = [
        range(below, parameters // 2, -step),
        range(below + step, 2 * parameters, step),
    ]
    nearest = (next(filter(is_suitable, numbers), None) for numbers in directions)
    return sorted((count for count in nearest if count), key=lambda count: abs(count - parameters))


def cell_configs(
    settings: Mapping[str, Setting],
    cell: str,
    hidden_size: int,
    seeds: int,
    first_seed: int = 0,
) -> list[Config]:
    """Return the config of each seed of a cell with this hidden size."""
    width: dict[str, Setting] = {"hidden_size": hidden_size}
    if settings.get("tie_weights"):
        width["embedding_dim"] = hidden_size
    return [
        validate_config({**settings_for(cell, settings), **width, "seed": first_seed + number})
        for number in range(seeds)
    ]


def matched_configs(
    settings: Mapping[str, Setting], seeds: int, match: BudgetMatch
) -> list[Config]:
    """Return the config of each seed and cell, all cells of the first seed first."""
    by_cell = [
        cell_configs(settings, cell, hidden_size, seeds)
        for cell, hidden_size in match.hidden_sizes.items()
    ]
    return [config for configs in zip(*by_cell, strict=True) for config in configs]
