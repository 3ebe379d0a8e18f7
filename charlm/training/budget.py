"""TODO docstring."""

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import torch

from charlm.config import DEFAULT_MAX_STEPS, Config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus
from charlm.data.vocabulary import TokenIds
from charlm.errors import DivergedError
from charlm.execution.device import available_memory
from charlm.models.build import build_char_lm
from charlm.models.cost import check_memory, estimate_training_memory
from charlm.training.distributed import per_process_config
from charlm.training.trainer import Trainer

DEFAULT_VALIDATIONS = 20  # of a run that was not told how often


def check_fits_memory(config: Config, corpus: Corpus, device: str) -> None:
    """Before anything is made: a model that is too large for this machine."""
    check_memory(
        available_memory(device),
        estimate_training_memory(per_process_config(config), corpus.vocabulary.size),
    )


def resolve_max_steps(config: Config, ids: TokenIds) -> int:
    """The budget of a run on this training split, unless it is told in minutes."""
    windows = BatchSampler(ids, config.batch_size, config.seq_len, config.seed).windows
    return (
        math.ceil(config.epochs * windows)
        if config.epochs
        else config.max_steps or DEFAULT_MAX_STEPS
    )


def validation_interval(config: Config, updates: int) -> int:
    """So many updates apart the validation split is looked at, and after the last."""
    return config.eval_every or max(1, updates // DEFAULT_VALIDATIONS)


def iter_step_times(
    config: Config, updates: int, symbols: int, kernel: str, device: str, ids: TokenIds
) -> Iterator[float]:
    """The seconds of each real update of a scratch model."""
    learner = Trainer(build_char_lm(config, symbols, kernel, device), config, updates)
    batches = BatchSampler(ids, config.batch_size, config.seq_len, config.seed, device)
    while learner.step < updates:
        before = learner.seconds
        learner.train_step(batches[learner.step])
        yield learner.seconds - before


def measure_step_time(
    config: Config,
    updates: int,
    symbols: int,
    kernel: str,
    device: str,
    ids: TokenIds,
    budget: float = 1.0,
) -> float:
    """Times real updates of a scratch model, `budget` seconds or `updates` long: the median."""
    times: list[float] = []
    began = time.perf_counter()
    with torch.random.fork_rng(), suppress(DivergedError):  # that is for the run itself to meet
        for seconds in islice(iter_step_times(config, updates, symbols, kernel, device, ids), 50):
            times.append(seconds)
            if sum(times[1:]) >= budget:
                break
    # The first pays for what is made once; without even one, what the attempt took must do.
    return statistics.median(times[1:] or times or [time.perf_counter() - began])
