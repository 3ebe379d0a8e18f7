"""Memory and descriptors of a process that trains for long.

    python scripts/faults/soak.py [MINUTES]

Only memory is measured, never time, so that other processes do not disturb it.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faults import processes
from faults.hazard import Hazard

MINUTES = 60.0  # at scale 1
WARM_UP = 0.25  # share of the time before memory is taken to be steady
INTERVAL = 1.0  # seconds between samples
MAX_GROWTH = 1.0  # MB per hour
MIN_GROWTH = 0.25  # MB in all; less is noise of the allocator: pages of caches that still fill
RESAMPLES = 2000
STEPS = ["--max-steps", "100000000", "--eval-every", "500", "--save-every", "5", "--keep", "state"]


class Sample(NamedTuple):
    """State of a process at one time."""

    hours: float  # since the first
    megabytes: float  # anonymous memory that is resident
    descriptors: int


class Slope(NamedTuple):
    """Growth of memory in MB per hour, with its 95 % interval."""

    value: float
    low: float
    high: float


def anonymous_memory(process: int) -> float:
    """Return the resident memory of a process that no file backs, in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("this kernel tells no RssAnon")


def watch(process: int, seconds: float) -> list[Sample]:
    """Return samples of a process until the time is over or it ends."""
    start, samples = time.monotonic(), []
    while (elapsed := time.monotonic() - start) < seconds:
        with suppress(FileNotFoundError, ProcessLookupError):
            descriptors = len(os.listdir(f"/proc/{process}/fd"))
            samples.append(Sample(elapsed / 3600, anonymous_memory(process), descriptors))
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(INTERVAL)
    return samples


def fit_slope(samples: Sequence[Sample], seed: int = 0) -> Slope:
    """Return the slope of memory by least squares, with a bootstrap of blocks of samples."""
    hours = np.array([sample.hours for sample in samples])
    memory = np.array([sample.megabytes for sample in samples])
    slope, offset = np.polyfit(hours, memory, 1)
    residuals, rng = memory - (slope * hours + offset), np.random.default_rng(seed)
    size = max(1, round(len(samples) ** 0.5))  # neighbours depend on each other
    slopes = []
    for _ in range(RESAMPLES):
        starts = rng.integers(0, len(samples) - size + 1, -(-len(samples) // size))
        drawn = np.concatenate([residuals[s : s + size] for s in starts])[: len(samples)]
        slopes.append(slope + np.polyfit(hours, drawn, 1)[0])
    low, high = np.quantile(slopes, (0.025, 0.975))
    return Slope(float(slope), float(low), float(high))


def judge(samples: Sequence[Sample]) -> tuple[str, tuple[str, ...]]:
    """Return what was measured in one line, and what did not hold."""
    steady = samples[round(WARM_UP * len(samples)) :]
    if len(steady) < 8:
        return "", (f"only {len(steady)} samples: the process ended early",)
    slope = fit_slope(steady)
    span = steady[-1].hours - steady[0].hours
    numbers = sorted({sample.descriptors for sample in steady})
    line = (
        f"{slope.value:+.2f} MB per hour ({slope.low:+.2f} to {slope.high:+.2f}) over "
        f"{60 * span:.0f} minutes, at {steady[-1].megabytes:.0f} MB; descriptors {numbers[0]} to "
        f"{numbers[-1]}"
    )
    failures = []
    if slope.low > MAX_GROWTH and slope.value * span > MIN_GROWTH:
        failures.append(f"memory grows: {line}")
    quarter = max(1, len(steady) // 4)
    first, last = (
        min(s.descriptors for s in part) for part in (steady[:quarter], steady[-quarter:])
    )
    if last > first:  # files that are open for a moment do not count
        failures.append(f"descriptors grow from {first} to {last}: {line}")
    return line, tuple(failures)


def soak(seconds: float, prepare: Callable[[], None] = lambda: None) -> tuple[list[Sample], str]:
    """Train for a time; return samples, and what went wrong at the end or empty.

    Args:
        seconds: Time; the run is then told to save and stop.
        prepare: Is called in the process before the command.
    """
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        top = Path(name)
        os.environ.setdefault("CHARLM_CACHE", f"{top}/cache")
        processes.warm_up(top)
        words = [word for word in processes.train_command(top / "run", 1) if word]
        for option in ("--max-steps", "--save-every", "--keep"):
            place = words.index(option)
            del words[place : place + 2]
        process = processes.start([*words, *STEPS], top, prepare)
        samples = watch(process, seconds)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
        ended = processes.wait(process, top)
        return (
            samples,
            "" if ended.code == 143 else f"exit code {ended.code}: {ended.errors[-300:]}",
        )


def run(scale: float) -> Hazard:
    """Train for 60 minutes times the scale, and look at memory and descriptors."""
    start = processes.cpu_seconds()
    samples, ending = soak(60 * MINUTES * scale)
    line, failures = judge(samples)
    return Hazard(
        name="memory of a long run",
        method=f"training for {MINUTES * scale:.1f} minutes, saving every 5 seconds: {line}",
        trials=1,
        failures=(*failures, *([ending] if ending else ())),
        seconds=processes.cpu_seconds() - start,
    )


def leak(generator: random.Random) -> Callable[[], None]:
    """Return a `prepare` that lets every step keep 2 kB and every save a descriptor."""

    def prepare() -> None:
        from charlm.storage import files  # noqa: PLC0415
        from charlm.training.trainer import Trainer  # noqa: PLC0415

        kept: list[object] = []
        step, write = Trainer.train_step, files.write_all

        def train_step(self: object, batch: object) -> object:
            kept.append(generator.randbytes(2000))
            return step(self, batch)  # type: ignore[arg-type]

        def write_all(descriptor: int, data: bytes) -> None:
            kept.append(os.dup(descriptor))
            write(descriptor, data)

        Trainer.train_step, files.write_all = train_step, write_all  # type: ignore[assignment,method-assign]

    return prepare


if __name__ == "__main__":
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    hazard = run(minutes / MINUTES)
    print(hazard.method)
    for failure in hazard.failures:
        print(f"FAILED: {failure}")
    sys.exit(bool(hazard.failures))
