"""Number of CPU threads: steps are timed with each, and the fastest number is taken."""

import msgspec
import torch

from charlm.config import Config
from charlm.data.corpus import Corpus
from charlm.execution.device import available_cores
from charlm.models.build import select_kernel
from charlm.results.run import ThreadTiming
from charlm.training.budget import MAX_TIMED_STEPS, measure_step_time

TIMING_SECONDS = 0.3  # of steps with each number of threads
# A number of threads is taken only if no smaller one is nearly as fast: others may need the cores.
WORTHWHILE_GAIN = 0.05


def time_threads(config: Config, corpus: Corpus, device: str) -> tuple[ThreadTiming, ...]:
    """Time a new model with 1, 2, 4, ... threads, up to the cores of this process.

    The number of threads of PyTorch is the last one afterwards.

    Args:
        config: Settings with the recipe.
        corpus: Text of the run.
        device: Resolved device. On a GPU nothing is timed.

    Returns:
        One timing per number, in increasing order; each by the kernel that it would have.
    """
    if device != "cpu":
        return ()
    timings = []
    for threads in thread_numbers(available_cores()):
        torch.set_num_threads(threads)
        timed = msgspec.structs.replace(config, threads=threads)
        seconds = measure_step_time(
            timed,
            MAX_TIMED_STEPS,
            corpus.vocabulary.size,
            select_kernel(timed, device).name,
            device,
            corpus.stored_split("train"),
            TIMING_SECONDS,
        )
        timings.append(ThreadTiming(threads, seconds))
    return tuple(timings)


def thread_numbers(cores: int) -> list[int]:
    """Return the powers of two below a number of cores, and that number."""
    return [*(2**power for power in range(cores.bit_length()) if 2**power < cores), cores]


def fastest_threads(timings: tuple[ThreadTiming, ...]) -> int:
    """Return the least number that is about as fast as the fastest; without timings 1."""
    fastest = min((timing.seconds_per_step for timing in timings), default=0.0)
    limit = fastest * (1 + WORTHWHILE_GAIN)
    return next((timing.threads for timing in timings if timing.seconds_per_step <= limit), 1)
