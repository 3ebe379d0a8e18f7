"""Request and plan of a comparison on a task: one curriculum for each cell and seed.

Each cell has its own learning rate: that of its recipe, half or twice as much, whichever gets
furthest with a seed that is not compared (the bracket).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import (
    BudgetMatch,
    CountedMeasure,
    match_budget,
)
from charlm.comparison.curricula import (
    BRACKET_SEED,
    PlannedCurriculum,
    best_rate,
    is_done,
    plan_curricula,
    with_rate,
)
from charlm.comparison.entries import group_by_cell
from charlm.comparison.request import (
    DEFAULT_CELLS,
    DEFAULT_PARAMS,
    DEFAULT_SEEDS,
    base_settings,
    validate_cells,
)
from charlm.config import (
    DEFAULT_MAX_STEPS,
    TEXT_ONLY_FIELDS,
    option_name,
)
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, LocalExecutor
from charlm.results.comparison_plan import PlannedEntry
from charlm.results.tasks import TaskComparisonOverview
from charlm.settings.values import Setting
from charlm.tasks.base import TASKS, Task
from charlm.tasks.curriculum import check_length_fits_memory
from charlm.tasks.lengths import check_length
from charlm.testing.trusted_cells import load_and_check_custom_cells

BRACKET_FACTORS = (1.0, 0.5, 2.0)  # of the recipe's rate; the first of equally good ones is taken


@dataclass(frozen=True, kw_only=True)
class TaskComparisonRequest:
    """Everything that determines a comparison on a task; validated at construction.

    Attributes:
        task: Name of the task.
        lengths: Lengths of the curriculum, in increasing order.
        cells: Names of the cells, or FILE.py:CLASS.
        settings: Fields of `Config` that all models share.
        params: Parameters of every model; with another `match`, of the LSTM that defines the
            budget.
        match: Quantity that all models have in common.
        seeds: Curricula per cell.
    """

    task: str
    lengths: tuple[int, ...]
    cells: tuple[str, ...] = DEFAULT_CELLS
    settings: Mapping[str, Setting] = field(default_factory=dict)
    params: int = DEFAULT_PARAMS
    match: CountedMeasure = "params"
    seeds: int = DEFAULT_SEEDS

    def __post_init__(self) -> None:
        """Raise ConfigError if the request cannot be satisfied."""
        object.__setattr__(self, "cells", tuple(dict.fromkeys(self.cells)))
        object.__setattr__(self, "lengths", tuple(sorted(set(self.lengths))))
        task = TASKS[self.task]
        if not self.lengths:
            raise ConfigError("cannot compare at no length. Try --lengths 10..100")
        for length in (self.lengths[0], self.lengths[-1]):
            check_length(length, f"--lengths {length}", task.min_length, task.max_length)
        for name in ("cell", "hidden_size", "seed", *TEXT_ONLY_FIELDS):
            if name in self.settings:
                raise ConfigError(
                    f"cannot use {option_name(name)} in a comparison on a task. Try without it"
                )
        validate_cells(self.base_settings, self.cells)

    @property
    def base_settings(self) -> dict[str, Setting]:
        """Settings of every model, before it has its cell, size and seed."""
        return base_settings({"max_steps": DEFAULT_MAX_STEPS, **self.settings})


@dataclass(frozen=True)
class TaskComparisonPlan:
    """Sizes of the cells and all curricula, in the order in which they begin."""

    task: Task
    lengths: tuple[int, ...]
    match: BudgetMatch
    curricula: tuple[PlannedCurriculum, ...]
    bracket: tuple[PlannedCurriculum, ...]  # empty where the learning rate is given

    def with_chosen_rates(self) -> "TaskComparisonPlan":
        """Return the plan with the best rate of each cell, once the bracket has ended."""
        if not self.bracket:
            return self
        rates = {cell: best_rate(tried) for cell, tried in group_by_cell(self.bracket).items()}
        curricula = tuple(
            with_rate(planned, rates[cell_label(planned.config.cell)], planned.config.seed)
            for planned in self.curricula
        )
        return replace(self, curricula=curricula)

    @property
    def by_cell(self) -> dict[str, list[PlannedCurriculum]]:
        """Label of a cell -> its curricula, one per seed."""
        return group_by_cell(self.curricula)

    @property
    def entries(self) -> tuple[PlannedEntry, ...]:
        """Size and settings of each cell."""
        return tuple(
            PlannedEntry(
                name=label,
                role="cell",
                hidden_size=first.config.hidden_size,
                parameters=first.parameters,
                flops_per_character=first.flops_per_character,
                state_size=first.state_size,
                learning_rate=first.config.learning_rate,
                batch_size=first.config.batch_size,
                max_steps=first.config.max_steps,
                seconds_per_million=None,
                relative_error=self.match.relative_errors[first.config.cell],
            )
            for label, (first, *_) in self.by_cell.items()
        )

    def overview(self, execution: Execution) -> TaskComparisonOverview:
        """Return what is shown before the first curriculum."""
        config = self.curricula[0].config
        return TaskComparisonOverview(
            task=self.task.name,
            lengths=self.lengths,
            matching=self.match.matching(None, config.max_steps),
            entries=self.entries,
            curricula=len(self.curricula),
            bracket=len(self.bracket),
            config=config,
            parallel_runs=execution.executor.capacity(),
            device=execution.executor.description,
            out=str(execution.directory),
        )


def plan_task_comparison(
    request: TaskComparisonRequest, execution: Execution
) -> TaskComparisonPlan:
    """Match the sizes of the cells and plan all curricula; nothing is written.

    Custom cells are loaded and checked: their files are executed.

    Raises:
        CellCheckError: A custom cell fails a required check.
        ConfigError: No hidden sizes match the budget.
        InsufficientMemoryError: The longest curricula need more memory than this machine has.
    """
    load_and_check_custom_cells(request.cells, compared=True)
    task, settings = TASKS[request.task], request.base_settings
    match = match_budget(
        settings, request.cells, request.params, task.input_size, request.match, task.model
    )
    curricula = plan_curricula(
        settings, request.seeds, match, request.task, request.lengths, execution.directory
    )
    first_of_cells = [one for one in curricula if one.config.seed == curricula[0].config.seed]
    bracket = [
        with_rate(first, float(f"{factor * first.config.learning_rate:.3g}"), BRACKET_SEED)
        for factor in (() if request.settings.get("learning_rate") else BRACKET_FACTORS)
        for first in first_of_cells
    ]
    if isinstance(execution.executor, LocalExecutor):  # in a cluster, each worker checks its own
        unfinished = [curriculum.config for curriculum in curricula if not is_done(curriculum)]
        check_length_fits_memory(
            unfinished,
            task,
            request.lengths[-1],
            execution.executor.device,
            execution.executor.max_parallel,
        )
    return TaskComparisonPlan(task, request.lengths, match, tuple(curricula), tuple(bracket))
