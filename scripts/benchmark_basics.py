"""Timing and models that all benchmarks share: CPU seconds, medians, pairs of runs."""

import statistics
import time
from collections.abc import Callable

import numpy as np
from torch import nn

from charlm.cells.base import CELLS
from charlm.config import Config, validate_config
from charlm.data.batches import BatchSampler
from charlm.data.vocabulary import Vocabulary
from charlm.kernels.registry import Unroll, supported_kernels
from charlm.models.build import build_char_lm
from charlm.training.trainer import Trainer

VOCABULARY_SIZE = 65
VOCABULARY = Vocabulary("chars", tuple(range(32, 32 + VOCABULARY_SIZE - 1)))
TORCH_MODULES = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
NUM_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
Shape = tuple[int, int, int, int]  # layers, hidden size, batch size, sequence length
SHAPES: dict[str, Shape] = {
    "a": (2, 128, 50, 50),
    "b": (1, 512, 64, 128),
    "c": (3, 512, 64, 128),
}
# Any recipe: it does not change how long a step takes.
RECIPE = {"learning_rate": 1e-3, "grad_clip": 1.0, "recurrent_init": "default"}
Step = Callable[[], object]


def cpu_seconds(run: Step) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def median_seconds(run: Step, repeats: int) -> float:
    """Return the median of several calls, after one to warm up."""
    run()
    return statistics.median(cpu_seconds(run) for _ in range(repeats))


def compare(first: Step, second: Step, pairs: int) -> tuple[float, float, float]:
    """Return the median seconds of both, and the median ratio first / second, of A B A B ..."""
    first(), second()
    times = [(cpu_seconds(first), cpu_seconds(second)) for _ in range(pairs)]
    ratio = statistics.median(a / b for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def random_ids(length: int = 400_000) -> np.ndarray:
    """Return random token ids."""
    return np.random.default_rng(0).integers(0, VOCABULARY_SIZE, length, dtype=np.uint8)


def make_config(cell: str, shape: Shape, embedding_dim: int = 0) -> Config:
    """Return the settings of a model whose embedding is as wide as its layers, unless given."""
    num_layers, hidden_size, batch_size, seq_len = shape
    return validate_config(
        {
            "cell": cell,
            "num_layers": num_layers,
            "hidden_size": hidden_size,
            "embedding_dim": embedding_dim or hidden_size,
            "batch_size": batch_size,
            "seq_len": seq_len,
            **RECIPE,
        }
    )


def fastest_kernel(cell: str, input_size: int, hidden_size: int) -> str:
    """Return the kernel that `auto` means on this machine."""
    return supported_kernels(CELLS[cell](input_size, hidden_size), "cpu")[0]


def our_training(config: Config, kernel: str, unroll: Unroll | None = None) -> Step:
    """Return one of our training steps; `unroll` replaces the kernel."""
    model = build_char_lm(config, VOCABULARY_SIZE, kernel, "cpu")
    if unroll:
        model.unrolls = [unroll] * config.num_layers
    trainer = Trainer(model, config, 10**6)
    batches = BatchSampler(random_ids(), config.batch_size, config.seq_len, 0)
    return lambda: trainer.train_step(batches[trainer.step])
