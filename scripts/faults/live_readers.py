"""Readers of a run that saves as fast as it can: each sees a whole checkpoint, and the newest."""

import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from charlm.config import Config
from charlm.errors import CharlmError
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.generation import generate
from charlm.inspection.inspect_run import inspect
from charlm.results.training import StepMetrics, TrainingEvent
from charlm.runs.checkpoint_files import list_checkpoints
from charlm.runs.listing import list_runs
from charlm.runs.run import Run
from charlm.runs.verification import verify
from charlm.training.session import train
from faults.hazard import Hazard
from faults.places import memory_directory
from faults.processes import cpu_seconds, write_prose
from faults.resume_to_the_bit import Watcher

SECONDS = 600.0  # of reading
VALIDATED = 4  # steps after which there are best weights
# Pauses at random, so that both meet in all orders and leave time for other processes.
WRITER_PAUSE, READER_PAUSE = 0.04, 0.06


def run(scale: float) -> Hazard:
    """Read a run in every way while another process saves it."""
    before = cpu_seconds()
    torch.set_num_threads(1)
    rng = random.Random(0)
    failures: list[str] = []
    trials = 0
    with memory_directory() as directory, writer(directory) as path, warnings_of_charlm() as said:
        while max(list_checkpoints(path), default=0) < VALIDATED:
            time.sleep(0.01)
        end = time.monotonic() + SECONDS * scale
        while time.monotonic() < end or trials < len(READINGS):
            name, read = READINGS[trials % len(READINGS)]
            newest = max(list_checkpoints(path))
            try:
                step = read(path)
            except CharlmError as error:
                failures.append(f"{name}: {error}")
            else:
                if step < newest:
                    failures.append(f"{name} saw step {step}, though {newest} was complete before")
            failures += [f"{name}: {message}" for message in said]
            said.clear()
            trials += 1
            time.sleep(rng.random() * READER_PAUSE)
    return Hazard(
        "live readers",
        f"a run is read in {len(READINGS)} ways while another process saves it as fast as it can",
        trials,
        tuple(failures),
        cpu_seconds() - before,
    )


@contextmanager
def writer(directory: Path) -> Iterator[Path]:
    """Train a run in another process, which saves at each step, until the block ends."""
    path = directory / "run"
    config = Config(
        hidden_size=8,
        embedding_dim=4,
        batch_size=2,
        seq_len=8,
        learning_rate=0.01,
        max_steps=10**8,
        eval_every=VALIDATED - 1,
        save_every=1e-9,
        kernel="loop",
        test_chars=40,
    )
    text = write_prose(directory / "text.txt")
    rng = random.Random(1)

    parent = os.getpid()

    def pause(event: TrainingEvent) -> None:
        if os.getppid() != parent:  # which was killed
            os._exit(1)
        if isinstance(event, StepMetrics):
            time.sleep(rng.random() * WRITER_PAUSE)

    sys.stdout.flush()
    process = os.fork()
    if not process:
        try:
            train(str(text), config, path, progress=Watcher(pause))
        finally:
            os._exit(1)
    try:
        yield path
        if os.waitpid(process, os.WNOHANG)[0]:
            raise RuntimeError("the process that trains has ended")
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@contextmanager
def warnings_of_charlm() -> Iterator[list[str]]:
    """Collect what charlm warns of within the block: a damaged checkpoint, or an older one."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("charlm")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def _load_last(path: Path) -> int:
    return Run(path).load_checkpoint("last").progress.step


def _load_best(path: Path) -> int:
    """Return the newest step if the best weights are those that it names.

    The best of the newest checkpoint may change while it is read, but only to a later step.
    """
    before = Run(path).load_checkpoint("last").progress
    best = Run(path).load_checkpoint("best").progress.step
    assert before.best_step is not None
    return before.step if best >= before.best_step else best


def _evaluate(path: Path) -> int:
    return evaluate(path, checkpoint="last", kernel="loop").step


def _generate(path: Path) -> int:
    assert len(generate(path, "the ", num_chars=5, checkpoint="last")) == 5
    return sys.maxsize


def _inspect(path: Path) -> int:
    inspect(path, "the old cat sees a dog. ")
    return sys.maxsize


def _list(path: Path) -> int:
    (listed,) = list_runs([path]).runs
    if listed.state != "locked":
        raise CharlmError(f"listed as {listed.state}: {listed.problem}")
    return listed.step


def _verify(path: Path) -> int:
    """Return the newest step that is intact; what the run removes meanwhile is no problem."""
    (found,) = verify(path).runs
    if found.problems:
        raise CharlmError(f"verify: {found.problems}")
    assert found.last_step is not None
    return found.last_step


READINGS: tuple[tuple[str, Callable[[Path], int]], ...] = (
    ("last", _load_last),
    ("best", _load_best),
    ("eval", _evaluate),
    ("sample", _generate),
    ("runs", _list),
    ("inspect", _inspect),
    ("verify", _verify),
)
