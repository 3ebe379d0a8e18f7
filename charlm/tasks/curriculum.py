"""Curriculum by length: train a new model at each length until one is not solved."""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from charlm.config import MEASURED_THREADS, Config
from charlm.data.batches import Batch
from charlm.errors import (
    ConfigError,
    DivergedError,
    InsufficientMemoryError,
    Interrupted,
)
from charlm.execution.device import available_memory, select_device
from charlm.execution.machine import current_environment
from charlm.execution.parent_process import is_orphaned
from charlm.models.build import build_model, select_kernel
from charlm.models.cell_options import check_cell_options
from charlm.models.cost import estimate_training_memory
from charlm.progress import NoProgress, Progress, ProgressCallback
from charlm.results.tasks import (
    CurriculumReport,
    LevelResult,
    TaskValidation,
)
from charlm.runs.creation import check_not_existing
from charlm.storage import files
from charlm.storage.append_only_log import AppendOnlyLog
from charlm.storage.json_files import seal_json
from charlm.storage.lock import exclusive_lock
from charlm.tasks.base import TASKS, Task, batch_generator
from charlm.tasks.curriculum_files import (
    initialize_curriculum_dir,
    is_finished,
    load_level_results,
)
from charlm.tasks.level_tests import LevelTests, run_level_tests
from charlm.tasks.scoring import VALIDATION_SEQUENCES, evaluate_task, is_solved, score_oracle
from charlm.tasks.settings import resolve_task_settings
from charlm.training.trainer import Trainer

logger = logging.getLogger("charlm")

VALIDATION_INTERVAL = 50  # steps between validations, unless --eval-every sets it
SOLVED_VALIDATIONS = 2  # in a row: training stops
# of the errors that a solved length may have: a model that stops at the limit itself was lucky in
# validation, and every other one misses the limit in the test
STOP_TOLERANCE = 0.5


def train_curriculum(
    task: str,
    lengths: Sequence[int],
    config: Config,
    run_dir: Path,
    progress: Progress | None = None,
) -> CurriculumReport:
    """Train a new model at each length, in order, until one is not solved.

    A directory that has part of the same curriculum is continued.

    Args:
        task: Name of the task.
        lengths: Lengths in increasing order.
        config: Settings of every model; `max_steps` is the budget at each length. What is left
            open is that of the cell's recipe.
        run_dir: Directory of the results.
        progress: Receiver of the number of optimizer steps.

    Returns:
        The result at each length that was attempted.

    Raises:
        ConfigError: The directory has a curriculum with other settings, no task has this name, or
            the cell does not have a setting that has been changed.
        OutputExistsError: The directory has something else.
        InsufficientMemoryError: A length needs more memory than is available.
        Interrupted: A signal came. Completed lengths are saved.
    """
    if config.threads == MEASURED_THREADS:
        raise ConfigError(
            "cannot use --threads auto on a task: each length has another speed. Try --threads 1"
        )
    check_cell_options(config)
    config = resolve_task_settings(config, TASKS[task])
    device, _ = select_device(config.device, config.threads, config.dtype)
    if not (run_dir / "curriculum.json").exists():
        check_not_existing(run_dir)
    progress = progress or NoProgress()
    with exclusive_lock(run_dir), progress.counter(f"{task}: steps") as count_steps:

        def count(steps: int) -> None:
            if is_orphaned():
                raise Interrupted(signal.SIGTERM)
            count_steps(steps)

        initialize_curriculum_dir(run_dir, task, config)
        try:
            for level in run_curriculum(run_dir, task, config, lengths, device, count):
                log_level(level)
        except Interrupted as interruption:
            raise Interrupted(
                interruption.signal,
                f"{interruption}; completed lengths are saved. Run the same command to continue",
            ) from None
        levels = load_level_results(run_dir, lengths)
    return CurriculumReport(task=task, levels=tuple(levels), measures=TASKS[task].measures)


def run_curriculum(
    path: Path,
    task: str,
    config: Config,
    lengths: Sequence[int],
    device: str,
    progress: ProgressCallback,
) -> Iterator[LevelResult]:
    """Train at the lengths that have no result yet; yield each result once it is saved.

    Args:
        path: Directory of the curriculum, which the caller has locked.
        task: Name of the task.
        config: Settings of every model.
        lengths: Lengths in increasing order.
        device: Resolved device.
        progress: Is called after each optimizer step.
    """
    levels = load_level_results(path, lengths)
    while not is_finished(levels, lengths):
        level = train_level(path, TASKS[task], config, lengths[len(levels)], device, progress)
        files.write_atomic(path / f"length-{level.length}.json", seal_json(level))
        levels.append(level)
        yield level


def train_level(
    path: Path,
    task: Task,
    config: Config,
    length: int,
    device: str,
    progress: ProgressCallback,
) -> LevelResult:
    """Train a new model at one length and test it there and at multiples of the length.

    Each validation is a line of `length-N.jsonl` in `path`.
    """
    check_length_fits_memory([config], task, length, device)
    config = msgspec.structs.replace(config, seq_len=task.sequence_length(length))
    kernel, _ = select_kernel(config, device)
    model = build_model(task.model, config, task.input_size, kernel, device)
    trainer = Trainer(model, config, config.max_steps)
    chance = task.chance_score(length)
    with closing(AppendOnlyLog(path / f"length-{length}.jsonl")) as log:
        log.truncate(0)
        try:
            for validation in train_on_task(task, trainer, length, progress):
                log.append(msgspec.json.encode(validation))
            tests = run_level_tests(model, task, length)
        except DivergedError as error:
            tests = LevelTests(divergence=str(error))
        log.sync()
    return LevelResult(
        length=length,
        is_solved=tests.test is not None and is_solved(task, tests.test, chance, tests.oracle),
        steps=trainer.step,
        seconds=round(trainer.seconds, 3),
        kernel=kernel,
        chance=chance,
        test=tests.test,
        extrapolation=tests.extrapolation,
        oracle=tests.oracle,
        measures=tests.measures,
        by_position=tests.by_position,
        divergence=tests.divergence,
        environment=current_environment(device, config.threads),
    )


def train_on_task(
    task: Task, trainer: Trainer[Any], length: int, progress: ProgressCallback
) -> Iterator[TaskValidation]:
    """Train until two validations in a row are solved with half of the errors, or to the end.

    Yields:
        Each validation.

    Raises:
        DivergedError: The loss is not finite.
    """
    config, chance = trainer.config, task.chance_score(length)
    oracle = score_oracle(task, length, "valid", VALIDATION_SEQUENCES)
    device = trainer.model.bias.device
    interval = config.eval_every or VALIDATION_INTERVAL
    solved_in_a_row = 0
    while trainer.step < trainer.max_steps and solved_in_a_row < SOLVED_VALIDATIONS:
        generator = batch_generator(task.name, length, "train", config.seed, trainer.step)
        x, y, _ = task.sample_batch(length, config.batch_size, generator)
        trainer.train_step(Batch(x.to(device), y.to(device), is_epoch_start=True))
        progress(1)
        if trainer.step % interval == 0:
            score = evaluate_task(trainer.model, task, length, "valid", VALIDATION_SEQUENCES)
            is_enough = is_solved(task, score, chance, oracle, STOP_TOLERANCE)
            solved_in_a_row = solved_in_a_row + 1 if is_enough else 0
            yield TaskValidation(
                trainer.step, round(trainer.seconds, 3), score.loss, score.accuracy
            )


def check_length_fits_memory(
    configs: Sequence[Config], task: Task, length: int, device: str, parallel: int = 1
) -> None:
    """Check that models can be trained side by side at this length.

    Args:
        configs: Settings of all models.
        task: The task.
        length: Longest length of the curriculum.
        device: Resolved device.
        parallel: How many of the models are trained at the same time.

    Raises:
        InsufficientMemoryError: The largest ones need more memory than is available.
    """
    seq_len = task.sequence_length(length)
    estimates = sorted(
        estimate_training_memory(
            msgspec.structs.replace(config, seq_len=seq_len), task.input_size, device
        )
        for config in configs
    )
    required = sum(estimates[-parallel:])
    available = available_memory(device)
    if required > available:
        raise InsufficientMemoryError(
            f"cannot train at length {length}: about {required / 1e9:,.1f} GB of memory are "
            f"needed, {available / 1e9:,.1f} GB are available. Try shorter --lengths, fewer "
            "--jobs, or a smaller --batch-size or model (--hidden-size, --params)"
        )


def log_level(level: LevelResult) -> None:
    """Log the result at a length."""
    if level.test is None:
        logger.warning("length %d: diverged after %d steps", level.length, level.steps)
    else:
        logger.info(
            "length %d: accuracy %.4f, loss %.2g after %d steps",
            *(level.length, level.test.accuracy, level.test.loss, level.steps),
        )
