"""Tests of growth: training keeps nothing per step, and the soak finds a leak that is planted."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import TINY
from faults.soak import Sample, judge

from charlm.config import validate_config
from charlm.progress import NoProgress
from charlm.results.training import StepMetrics, TrainingEvent
from charlm.training.session import train
from charlm.training.trainer import Trainer

FIRST, LAST = 250, 650


class Counter(NoProgress):
    """Counts allocated blocks of Python and open descriptors at two steps."""

    def __init__(self) -> None:
        self.counts: list[tuple[int, int]] = []

    @contextmanager
    def training(self, *_: object) -> Iterator[Callable[[TrainingEvent], object]]:
        def count(event: TrainingEvent) -> None:
            if isinstance(event, StepMetrics) and event.step in (FIRST, LAST):
                gc.collect()
                descriptors = len(os.listdir("/proc/self/fd"))
                self.counts.append((sys.getallocatedblocks(), descriptors))

        yield count


def growth(path: Path, book: Path) -> tuple[int, int]:
    """Return how many blocks and descriptors 400 steps and 8 evaluations of a run keep."""
    counter = Counter()
    settings = {**TINY, "max_steps": LAST + 5, "eval_every": 50, "save_every": 1e9}
    config = validate_config({**settings, "kernel": "loop"})
    train([str(book)], config, path, progress=counter)
    (blocks, descriptors), (more_blocks, more_descriptors) = counter.counts
    return more_blocks - blocks, more_descriptors - descriptors


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_training_keeps_nothing_per_step(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, descriptors = growth(tmp_path / "run", book)
    assert descriptors == 0 and blocks < LAST - FIRST, blocks  # caches still fill
    kept: list[object] = []
    step = Trainer.train_step

    def leaking_step(*arguments: object) -> object:
        kept.extend((object(), os.dup(0)))
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train_step", leaking_step)
    blocks, descriptors = growth(tmp_path / "leaking", book)
    assert descriptors == LAST - FIRST and blocks >= LAST - FIRST
    for descriptor in kept[1::2]:
        os.close(descriptor)  # type: ignore[arg-type]


def test_saves_leave_no_cycles_of_pointers(tmp_path: Path, book: Path) -> None:
    config = validate_config({**TINY, "max_steps": 4, "save_every": 1e-9, "kernel": "loop"})
    gc.collect()
    gc.disable()
    try:
        train([str(book)], config, tmp_path / "run")
        assert not [each for each in gc.get_objects() if issubclass(type(each), ctypes._Pointer)]
    finally:
        gc.enable()


def samples(per_hour: float, descriptors_per_hour: float = 0) -> list[Sample]:
    """Return an hour of samples with noise that repeats, and a warm-up of 50 MB."""
    hours = [i / 1000 for i in range(1000)]
    return [
        Sample(
            h, 200 - 50 * (h < 0.1) + per_hour * h + (i % 7) / 10, 9 + int(descriptors_per_hour * h)
        )
        for i, h in enumerate(hours)
    ]


def test_leak_is_told_from_noise() -> None:
    line, failures = judge(samples(0.2))
    assert failures == () and "+0.20 MB per hour" in line
    _, (failure,) = judge(samples(3))
    assert failure.startswith("memory grows: +3.0")
    _, (failure,) = judge(samples(0, descriptors_per_hour=10))
    assert failure.startswith("descriptors grow")
    assert judge(samples(0)[:5])[1] == ("only 4 samples: the process ended early",)
