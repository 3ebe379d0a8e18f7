"""Request and plan of a comparison on a task: one curriculum for each cell and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from charlm.cells.loader import loaded_cell_sha256
from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import (
    BudgetMatch,
    CountedMeasure,
    match_budget,
    matched_configs,
)
from charlm.comparison.entries import directory_name, group_by_cell
from charlm.comparison.request import (
    DEFAULT_CELLS,
    DEFAULT_PARAMS,
    DEFAULT_SEEDS,
    base_settings,
    validate_cells,
)
from charlm.config import (
    DEFAULT_MAX_STEPS,
    FORMAT_VERSION,
    TEXT_ONLY_FIELDS,
    Config,
    option_name,
    to_argv,
)
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, LocalExecutor
from charlm.execution.jobs import Job
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.results.comparison import PlannedEntry
from charlm.results.jobs import JobProgress
from charlm.results.tasks import CurriculumRecord, TaskComparisonOverview, TaskValidation
from charlm.results.tuning import Setting
from charlm.tasks.base import TASKS, Task, check_length
from charlm.tasks.curriculum import (
    check_length_fits_memory,
    fingerprint_fields,
    is_finished,
    load_level_results,
)
from charlm.testing.trusted_cells import load_and_check_custom_cells

CURRICULA = "curricula"  # subdirectory of a comparison


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
        min_length = TASKS[self.task].min_length
        if not self.lengths:
            raise ConfigError("cannot compare at no length. Try --distances 10..100")
        check_length(self.lengths[0], min_length, f"--distances {self.lengths[0]}")
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
class PlannedCurriculum:
    """A curriculum of a comparison. Its directory is named by everything that determines it."""

    task: str
    lengths: Sequence[int]
    config: Config
    path: Path
    parameters: int
    state_size: int
    flops_per_character: int

    @property
    def job(self) -> Job:
        """The `charlm tasks train` command that begins or continues this curriculum."""
        argv = ["tasks", "train", self.task, "--distances", ",".join(map(str, self.lengths))]
        argv += ["--run", str(self.path), "--log-every", "60"]
        argv += to_argv(self.config, exclude=TEXT_ONLY_FIELDS)
        name = f"{cell_label(self.config.cell)} seed {self.config.seed}"
        return Job(name, self.path, argv, self.progress, marker="curriculum.json")

    def progress(self) -> JobProgress:
        """Return how far the curriculum is, according to its directory."""
        levels = load_level_results(self.path, self.lengths)
        max_steps = self.config.max_steps
        total = max_steps * len(self.lengths)
        if is_finished(levels, self.lengths):
            return JobProgress("finished", total, total)
        length = self.lengths[len(levels)]
        validation = last_validation(self.path / f"length-{length}.jsonl")
        return JobProgress(
            done=max_steps * len(levels) + (validation.step if validation else 0),
            total=total,
            length=length,
            accuracy=validation.accuracy if validation else None,
        )


def last_validation(log: Path) -> TaskValidation | None:
    """Return the last validation of a log, whose last line may be incomplete."""
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    complete = [line for line in lines if line.endswith(b"\n")]
    return msgspec.json.decode(complete[-1], type=TaskValidation) if complete else None


@dataclass(frozen=True)
class TaskComparisonPlan:
    """Sizes of the cells and all curricula, in the order in which they begin."""

    task: Task
    lengths: tuple[int, ...]
    match: BudgetMatch
    curricula: tuple[PlannedCurriculum, ...]

    @property
    def by_cell(self) -> dict[str, list[PlannedCurriculum]]:
        """Label of a cell -> its curricula, one per seed."""
        return group_by_cell(self.curricula)

    def overview(self, execution: Execution) -> TaskComparisonOverview:
        """Return what is shown before the first curriculum."""
        config = self.curricula[0].config
        entries = tuple(
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
        return TaskComparisonOverview(
            task=self.task.name,
            lengths=self.lengths,
            matching=self.match.matching(None, config.max_steps),
            entries=entries,
            curricula=len(self.curricula),
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
    if isinstance(execution.executor, LocalExecutor):  # in a cluster, each worker checks its own
        unfinished = [curriculum.config for curriculum in curricula if not is_done(curriculum)]
        check_length_fits_memory(
            unfinished,
            task,
            request.lengths[-1],
            execution.executor.device,
            execution.executor.max_parallel,
        )
    return TaskComparisonPlan(task, request.lengths, match, tuple(curricula))


def is_done(curriculum: PlannedCurriculum) -> bool:
    """Return whether nothing is left to train."""
    return curriculum.progress().status == "finished"


def plan_curricula(
    settings: Mapping[str, Setting],
    seeds: int,
    match: BudgetMatch,
    task: str,
    lengths: Sequence[int],
    directory: Path,
) -> list[PlannedCurriculum]:
    """Return the curricula of a comparison, a pure function of the arguments.

    Lengths are not part of a directory's name, so a longer curriculum continues a shorter one.
    """
    model_class, input_size = TASKS[task].model, TASKS[task].input_size
    curricula = []
    for config in matched_configs(settings, seeds, match):
        record = CurriculumRecord(
            format=FORMAT_VERSION,
            task=task,
            config=config,
            cell_sha256=loaded_cell_sha256(config.cell),
        )
        name = directory_name(config, fingerprint_fields(record))
        parameters, state_size = count_parameters_and_state(config, input_size, model_class)
        curricula.append(
            PlannedCurriculum(
                task=task,
                lengths=lengths,
                config=config,
                path=directory / CURRICULA / name,
                parameters=parameters,
                state_size=state_size,
                flops_per_character=flops_per_character(config, input_size, model_class),
            )
        )
    return curricula
