"""Estimates of what a curriculum takes: time per length, measured for a moment, and disk."""

from collections.abc import Sequence
from contextlib import suppress
from statistics import median
from time import perf_counter
from typing import NamedTuple

import msgspec
import torch

from charlm.config import Config
from charlm.data.batches import Batch
from charlm.errors import DivergedError
from charlm.models.build import build_model, select_kernel
from charlm.tasks.base import Task, batch_generator
from charlm.tasks.curriculum import VALIDATION_INTERVAL
from charlm.tasks.scoring import (
    EVAL_BATCH_SIZE,
    TEST_SEQUENCES,
    VALIDATION_SEQUENCES,
    evaluate_task,
)
from charlm.training.trainer import Trainer

TIMING_SECONDS = 0.1  # of the steps that are timed at a length
MAX_TIMED_STEPS = 20
VALIDATION_BYTES, LEVEL_BYTES = 100, 1000  # of a line of length-N.jsonl, and of length-N.json
CURRICULUM_BYTES = 4000  # of the other files of a curriculum


class LevelTimings(NamedTuple):
    """Speed of a model at a length, measured with a new model."""

    seconds_per_step: float
    seconds_per_sequence: float  # that is read without being trained on
    tested_lengths: float = 1.0  # sum over the tests, in lengths of a sequence

    def seconds(self, config: Config) -> float:
        """Return the seconds of training for the whole budget, validations and tests.

        A test of sequences that are several times as long takes as many times as long.
        """
        validations = config.max_steps // (config.eval_every or VALIDATION_INTERVAL)
        sequences: float = validations * VALIDATION_SEQUENCES
        sequences += TEST_SEQUENCES * self.tested_lengths
        return config.max_steps * self.seconds_per_step + sequences * self.seconds_per_sequence


def measure_level(config: Config, task: Task, length: int, device: str) -> LevelTimings:
    """Time training and reading at a length for a moment.

    Args:
        config: Settings of the model.
        task: The task.
        length: Length of the task.
        device: Resolved device.
    """
    config = msgspec.structs.replace(config, seq_len=task.sequence_length(length))
    kernel, _ = select_kernel(config, device)
    with torch.random.fork_rng():
        model = build_model(task.model, config, task.input_size, kernel, device)
        trainer = Trainer(model, config, config.max_steps)
        times: list[float] = []
        begin = perf_counter()
        with suppress(DivergedError):  # the curriculum itself will report that
            while len(times) < min(MAX_TIMED_STEPS, config.max_steps):
                start = perf_counter()
                generator = batch_generator(task.name, length, "train", config.seed, len(times))
                x, y, _ = task.sample_batch(length, config.batch_size, generator)
                trainer.train_step(Batch(x.to(device), y.to(device), is_epoch_start=True))
                times.append(perf_counter() - start)
                if sum(times[1:]) > TIMING_SECONDS:
                    break
        # The first step includes one-time work. Without any step, the attempt's time must do.
        seconds_per_step = median(times[1:] or times or [perf_counter() - begin])
    start = perf_counter()
    with suppress(DivergedError):
        evaluate_task(model, task, length, "valid", EVAL_BATCH_SIZE)
    seconds_per_sequence = (perf_counter() - start) / EVAL_BATCH_SIZE
    return LevelTimings(seconds_per_step, seconds_per_sequence, count_tested_lengths(task, length))


def count_tested_lengths(task: Task, length: int) -> float:
    """Return the time steps of all tests of a model, in those of a sequence of its length."""
    steps = [task.sequence_length(factor * length) for factor in (1, *task.multiples(length))]
    steps += [variant.sequence_length(length) for variant in task.variants().values()]
    return sum(steps) / task.sequence_length(length)


def estimate_curriculum_disk(config: Config, lengths: Sequence[int]) -> int:
    """Return about how many bytes a curriculum of these lengths takes on the disk, at most."""
    validations = config.max_steps // (config.eval_every or VALIDATION_INTERVAL)
    return CURRICULUM_BYTES + len(lengths) * (LEVEL_BYTES + validations * VALIDATION_BYTES)
