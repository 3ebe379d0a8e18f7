"""Training budgets: number of steps, measured step time, validation interval, memory check."""

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import torch

from charlm.config import DEFAULT_CHARACTERS, Config
from charlm.data.batches import BatchSampler
from charlm.data.stored_ids import StoredIds
from charlm.data.vocabulary import TokenIds
from charlm.errors import ConfigError, DivergedError
from charlm.execution.device import available_memory
from charlm.models.build import build_char_lm
from charlm.models.cost import check_memory, estimate_training_memory
from charlm.training.distributed import per_process_config
from charlm.training.trainer import Trainer

DEFAULT_VALIDATIONS = 10  # validations of a run without `eval_every`
MAX_TIMED_STEPS = 50


def check_fits_memory(config: Config, vocabulary_size: int, device: str) -> None:
    """Check that a model can be trained on this device, before anything is allocated.

    Raises:
        InsufficientMemoryError: It needs more memory than is free.
    """
    needed = estimate_training_memory(per_process_config(config), vocabulary_size, device)
    check_memory(available_memory(device), needed)


def resolve_max_steps(config: Config, ids: TokenIds | StoredIds) -> int:
    """Return the budget in steps on this training split, unless it is given in minutes.

    Raises:
        ConfigError: The budget is less than a step.
    """
    windows = BatchSampler(ids, config.batch_size, config.seq_len, config.seed).windows
    if config.epochs:
        return math.ceil(config.epochs * windows)
    if config.max_steps:
        return config.max_steps
    tokens_per_step = config.batch_size * config.seq_len
    steps = (config.characters or DEFAULT_CHARACTERS) // tokens_per_step
    if not steps:
        raise ConfigError(
            f"cannot train on --characters {config.characters}: a step reads {tokens_per_step:,} "
            f"({config.batch_size} streams of {config.seq_len}). Try at least {tokens_per_step}"
        )
    return steps


def validation_interval(config: Config, max_steps: int) -> int:
    """Return the number of steps between validations."""
    return config.eval_every or max(1, math.ceil(max_steps / DEFAULT_VALIDATIONS))


def iter_step_times(
    config: Config,
    max_steps: int,
    vocabulary_size: int,
    kernel: str,
    device: str,
    ids: TokenIds | StoredIds,
) -> Iterator[float]:
    """Yield the seconds of each step of a new model."""
    trainer = Trainer(build_char_lm(config, vocabulary_size, kernel, device), config, max_steps)
    batches = BatchSampler(ids, config.batch_size, config.seq_len, config.seed, device)
    while trainer.step < max_steps:
        before = trainer.seconds
        trainer.train_step(batches[trainer.step])
        yield trainer.seconds - before


def measure_step_time(
    config: Config,
    max_steps: int,
    vocabulary_size: int,
    kernel: str,
    device: str,
    ids: TokenIds | StoredIds,
    budget: float = 1.0,
) -> float:
    """Return the median seconds of a step, measured with a new model.

    Args:
        config: Settings of one process.
        max_steps: Steps at most.
        vocabulary_size: Ids of the model.
        kernel: Resolved kernel.
        device: Resolved device.
        ids: Training split.
        budget: Seconds to spend.
    """
    times: list[float] = []
    start = time.perf_counter()
    steps = iter_step_times(config, max_steps, vocabulary_size, kernel, device, ids)
    with torch.random.fork_rng(), suppress(DivergedError):  # the run itself will report that
        for seconds in islice(steps, MAX_TIMED_STEPS):
            times.append(seconds)
            if sum(times[1:]) >= budget:
                break
    # The first step includes one-time work. Without any step, the attempt's time must do.
    return statistics.median(times[1:] or times or [time.perf_counter() - start])
