"""Curricula of a comparison on a task: their directories, commands, progress and learning rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from charlm.cells.loader import loaded_cell_sha256
from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import BudgetMatch, matched_configs
from charlm.comparison.entries import directory_name
from charlm.config import FORMAT_VERSION, TEXT_ONLY_FIELDS, Config, to_argv
from charlm.execution.jobs import Job
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.results.jobs import JobProgress
from charlm.results.tasks import CurriculumRecord, TaskValidation
from charlm.settings.values import Setting
from charlm.storage.json_files import decode_json
from charlm.storage.reading import read_regular_file
from charlm.tasks.base import TASKS
from charlm.tasks.curriculum_files import fingerprint_fields, is_finished, load_level_results
from charlm.tasks.settings import resolve_task_settings

CURRICULA = "curricula"  # subdirectory of a comparison
BRACKET_SEED = 1_000_000  # of curricula that choose a rate; is never compared


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
        argv = ["tasks", "train", self.task, "--lengths", ",".join(map(str, self.lengths))]
        argv += ["--run", str(self.path), "--log-every", "60"]
        argv += to_argv(self.config, exclude=TEXT_ONLY_FIELDS)
        name = f"{cell_label(self.config.cell)} seed {self.config.seed}"
        if self.config.seed == BRACKET_SEED:
            name = f"{cell_label(self.config.cell)} --lr {self.config.learning_rate:g}"
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
    """Return the last validation of a log, whose last line may be incomplete.

    Raises:
        DataError: It is damaged.
    """
    if not log.exists():
        return None
    complete = read_regular_file(log).splitlines(keepends=True)
    complete = [line for line in complete if line.endswith(b"\n")]
    return decode_json(complete[-1], TaskValidation, log) if complete else None


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
    for requested in matched_configs(settings, seeds, match):
        config = resolve_task_settings(requested, TASKS[task])
        parameters, state_size = count_parameters_and_state(config, input_size, model_class)
        curricula.append(
            PlannedCurriculum(
                task=task,
                lengths=lengths,
                config=config,
                path=directory / CURRICULA / curriculum_name(task, config),
                parameters=parameters,
                state_size=state_size,
                flops_per_character=flops_per_character(config, input_size, model_class),
            )
        )
    return curricula


def curriculum_name(task: str, config: Config) -> str:
    """Return the name of a curriculum's directory."""
    record = CurriculumRecord(
        format=FORMAT_VERSION, task=task, config=config, cell_sha256=loaded_cell_sha256(config.cell)
    )
    return directory_name(config, fingerprint_fields(record))


def with_rate(planned: PlannedCurriculum, rate: float, seed: int) -> PlannedCurriculum:
    """Return the curriculum with another learning rate and seed."""
    config = msgspec.structs.replace(planned.config, learning_rate=rate, seed=seed)
    path = planned.path.parent / curriculum_name(planned.task, config)
    return replace(planned, config=config, path=path)


def best_rate(tried: Sequence[PlannedCurriculum]) -> float:
    """Return the learning rate that got furthest; with equally many lengths, the fastest.

    Args:
        tried: Curricula of one cell that have ended, in the order of preference.
    """

    def merit(planned: PlannedCurriculum) -> tuple[int, int, float]:
        levels = load_level_results(planned.path, planned.lengths)
        solved = [level for level in levels if level.is_solved]
        last = levels[-1].test
        accuracy = last.accuracy if last else 0.0
        return len(solved), -sum(level.steps for level in solved), accuracy

    return max(tried, key=merit).config.learning_rate
