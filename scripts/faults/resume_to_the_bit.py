"""Runs that are stopped, killed and resumed at every step: their ends equal to the last bit."""

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from charlm.cells.names import CELL_NAMES
from charlm.config import Config
from charlm.errors import Interrupted
from charlm.progress import NoProgress
from charlm.results.training import StepMetrics, TrainingEvent
from charlm.runs.run import Run
from charlm.training.session import resume_training, train
from faults.hazard import Hazard
from faults.places import memory_directory, place
from faults.processes import cpu_seconds, write_prose
from faults.ranks import run_ranks
from faults.resume_design import FACTORS, STEPS, base_settings, covering_settings

CLOCK_KEYS = ("seconds", "cpu", "chars_per_second", "sha256")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Check = Callable[..., list[str]]  # config, text and folder -> what differs


def run(scale: float) -> Hazard:
    """Stop and resume runs of every cell at every step, and runs of a pairwise design at some.

    The cells' own runs have the kernel `loop`, which needs no compiler: the design has the others.
    """
    before = cpu_seconds()
    torch.set_num_threads(1)
    failures: list[str] = []
    trials = 0
    rng = random.Random(0)
    bases = [msgspec.structs.replace(base_settings(cell), kernel="loop") for cell in CELL_NAMES]
    rng.shuffle(bases)
    rows = covering_settings()
    rng.shuffle(rows)
    with memory_directory() as directory:
        text = write_prose(directory / "text.txt")
        if scale < 1:
            os.environ["CC"] = str(write_fast_compiler(directory / "compiler"))

        def attempt(number: int, check: Check, config: Config, *arguments: Any) -> None:
            """Do a check in a folder of its own, and count it."""
            nonlocal trials
            trials += number
            with place(directory) as folder:
                try:
                    failures.extend(check(config, text, folder, *arguments))
                except Exception as error:
                    failures.append(f"{describe(config)}, {check.__name__}: {error!r:.300}")

        stops, pairs = max(3, round(scale * STEPS) - 1), share(rows, scale)
        for config in share(bases, 10 * scale):
            steps = sorted(rng.sample(range(1, STEPS), stops))
            attempt(stops + 1, check_every_start, config, steps)
        for config in pairs:
            attempt(1, check_chain, config, sorted(rng.sample(range(1, STEPS), 4)))
            attempt(1, check_kills, config, rng)
        for config in share(bases, scale):
            for check in (check_initial_weights, check_longer_budget):
                attempt(1, check, config, rng)
        for config in share(bases[:3], scale):
            attempt(1, check_ranks, config)
    return Hazard(
        "resume to the bit",
        f"{len(share(bases, 10 * scale))} cells stopped after {stops} of the steps of a run of "
        f"{STEPS}; {len(pairs)} of {len(rows)} runs that try any two of {len(FACTORS)} options, "
        f"kernels among them{' (compiled without optimization)' * (scale < 1)}, stopped or killed; "
        "two processes; weights of another run; longer budgets: weights, state, metrics and report "
        "are those of the undisturbed run",
        trials,
        tuple(failures),
        cpu_seconds() - before,
    )


class Watcher(NoProgress):
    """Receiver of the events of training, in order."""

    def __init__(self, act: Callable[[TrainingEvent], object]) -> None:
        self.act = act

    @contextmanager
    def training(
        self,
        max_steps: int,  # noqa: ARG002
        tokens_per_step: int,  # noqa: ARG002
        best_bits: float | None,  # noqa: ARG002
    ) -> Iterator[Callable[[TrainingEvent], object]]:
        """Pass each event on."""
        yield self.act


def check_every_start(config: Config, text: Path, folder: Path, steps: Sequence[int]) -> list[str]:
    """Stop one run after each of these steps, and resume it; also resume each of its states."""
    whole = train(str(text), config, folder / "whole").path
    begin = lambda stop: train(str(text), config, folder / "parts", progress=stop)  # noqa: E731
    problems = []
    parts = interrupt(begin, folder / "parts", steps, lambda step: folder / f"from-{step}")
    if difference := compare_runs(whole, parts):
        problems.append(f"{describe(config)}, stopped after each of {list(steps)}: {difference}")
    for step in steps:
        path = folder / f"from-{step}"
        if difference := compare_runs(whole, resume(path)):
            problems.append(f"{describe(config)}, resumed once after step {step}: {difference}")
        shutil.rmtree(path)
    return problems


def check_chain(config: Config, text: Path, folder: Path, steps: Sequence[int]) -> list[str]:
    """Stop one run after each of these steps, and resume it."""
    whole = train(str(text), config, folder / "whole").path
    begin = lambda stop: train(str(text), config, folder / "parts", progress=stop)  # noqa: E731
    parts = interrupt(begin, folder / "parts", steps)
    difference = compare_runs(whole, parts)
    return (
        [f"{describe(config)}, stopped after each of {steps}: {difference}"] if difference else []
    )


def check_kills(config: Config, text: Path, folder: Path, rng: random.Random) -> list[str]:
    """Resume a copy that was taken at a random event, as a kill at that moment leaves it."""
    events = 0
    last = rng.randrange(1, config.max_steps)
    killed = folder / "killed"

    def copy(_: TrainingEvent) -> None:
        nonlocal events
        events += 1
        if events == last:
            shutil.copytree(folder / "copied", killed)

    whole = train(str(text), config, folder / "copied", progress=Watcher(copy)).path
    difference = compare_runs(whole, resume(killed))
    return [f"{describe(config)}, killed at event {last}: {difference}"] if difference else []


def check_initial_weights(
    config: Config, text: Path, folder: Path, rng: random.Random
) -> list[str]:
    """Stop a run that starts from the weights of another one; the other one is gone by then."""
    short = msgspec.structs.replace(config, max_steps=5, keep="weights")
    source = train(str(text), short, folder / "source").path
    whole = train(str(text), config, folder / "whole", init_from=source).path

    def begin(stop: Watcher) -> None:
        train(str(text), config, folder / "parts", init_from=source, progress=stop)

    steps = sorted(rng.sample(range(1, STEPS), 2))
    parts = interrupt(begin, folder / "parts", steps, gone=source)
    difference = compare_runs(whole, parts)
    return [f"{describe(config)}, other weights, {steps}: {difference}"] if difference else []


def check_longer_budget(config: Config, text: Path, folder: Path, rng: random.Random) -> list[str]:
    """Stop a run, give it a larger budget at its end, and stop that one."""
    short = msgspec.structs.replace(config, max_steps=STEPS // 2)
    begin = lambda stop: train(str(text), short, folder / "short", progress=stop)  # noqa: E731
    interrupt(begin, folder / "short", sorted(rng.sample(range(1, STEPS // 2), 2)))
    longer: dict[str, Any] = {"overrides": {"max_steps": STEPS}}
    whole = resume_training(folder / "short", longer_dir=folder / "longer", **longer).path

    def extend(stop: Watcher) -> None:
        resume_training(folder / "short", longer_dir=folder / "parts", progress=stop, **longer)

    steps = sorted(rng.sample(range(STEPS // 2, STEPS), 2))
    parts = interrupt(extend, folder / "parts", steps)
    problems = []
    if difference := compare_runs(whole, parts):
        problems.append(f"{describe(config)}, longer budget, {steps}: {difference}")
    new = train(str(text), whole, folder / "new").path
    if difference := compare_checkpoints(newest(new), newest(whole)):
        problems.append(
            f"{describe(config)}, longer budget and the same from the start: {difference}"
        )
    return problems


def check_ranks(config: Config, text: Path, folder: Path) -> list[str]:
    """Stop a run of two processes, which gloo connects, after three steps."""

    def train_ranks(path: Path, step: int) -> None:
        """Train to this step, or to the end; the main process alone is told to stop."""
        is_new = not (path / "run.json").exists()

        def work(is_main: bool) -> None:
            stop = Watcher(stop_after(step, signal.SIGTERM)) if is_main else NoProgress()
            if is_new:
                train(str(text), config, path, progress=stop)
            elif is_main:
                resume(path, stop)
            else:
                resume_training(path)

        run_ranks(work)

    train_ranks(folder / "whole", STEPS + 1)
    for step in (7, 28, 42, STEPS + 1):
        train_ranks(folder / "parts", step)
    difference = compare_runs(folder / "whole", folder / "parts")
    return [f"{describe(config)}, two processes: {difference}"] if difference else []


def interrupt(
    begin: Callable[[Watcher], object],
    path: Path,
    steps: Sequence[int],
    copy_to: Callable[[int], Path] | None = None,
    gone: Path | None = None,
) -> Path:
    """Train a run that is told to stop after each of these steps, and resume it each time.

    Args:
        begin: Starts the run, with this receiver of its events.
        path: Its directory.
        steps: Steps in order.
        copy_to: Returns where the state after a step is copied to; None: it is not.
        gone: Directory that is removed after the first stop.

    Raises:
        RuntimeError: The run did not stop.
    """
    for number, step in enumerate(steps):
        stop = Watcher(stop_after(step, SIGNALS[number % 2]))
        try:
            if number:
                resume(path, stop)
            else:
                begin(stop)
        except Interrupted:
            pass
        else:
            raise RuntimeError(f"{path} did not stop after step {step}")
        if copy_to is not None:
            shutil.copytree(path, copy_to(step))
        if gone is not None:
            shutil.rmtree(gone, ignore_errors=True)
    return resume(path)


def stop_after(step: int, number: signal.Signals) -> Callable[[TrainingEvent], None]:
    """Return a receiver of events that sends a signal to this process after a step."""

    def act(event: TrainingEvent) -> None:
        if isinstance(event, StepMetrics) and event.step == step:
            signal.raise_signal(number)

    return act


def resume(path: Path, progress: NoProgress = NoProgress()) -> Path:
    """Resume a run as a new process would: all that memory held is another, a line is torn."""
    torch.manual_seed(random.randrange(2**32))
    np.random.seed(random.randrange(2**32))
    random.seed(random.randrange(2**32))
    with (path / "metrics.jsonl").open("ab") as log:
        log.write(b'{"step":49,"charact')
    return resume_training(path, progress=progress).path


def compare_runs(one: Path, other: Path) -> str:
    """Return how the outcomes of two finished runs differ; "" if they do not."""
    if (one / "metrics.jsonl").read_bytes() != (other / "metrics.jsonl").read_bytes():
        return "metrics.jsonl differs"
    reports = []
    for run_ in map(Run, (one, other)):
        report = msgspec.to_builtins(run_.report)
        reports.append({key: report[key] for key in report if key not in CLOCK_KEYS})
    if reports[0] != reports[1]:
        return "report.json differs"
    return compare_checkpoints(newest(one), newest(other))


def compare_checkpoints(one: Path, other: Path) -> str:
    """Return the file of two checkpoints that differs; "" if none does."""
    for name in ("model.safetensors", "training.safetensors"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            return f"{name} differs"
    return ""


def newest(path: Path) -> Path:
    """Return the newest checkpoint of a run."""
    checkpoints = Run(path).checkpoints
    return checkpoints[max(checkpoints)]


def describe(config: Config) -> str:
    """Return what a run differs in from the defaults."""
    default = msgspec.structs.asdict(Config())
    settings = msgspec.structs.asdict(config).items()
    return " ".join(f"{name}={value}" for name, value in settings if value != default[name])


def write_fast_compiler(path: Path) -> Path:
    """Write a compiler that does not optimize, which takes a tenth of the time, and return it."""
    path.write_text('#!/bin/sh\nexec cc "$@" -O0\n')
    path.chmod(0o700)
    return path


def share(items: Sequence[Config], scale: float) -> Sequence[Config]:
    """Return this share of the items, at least one."""
    return items[: max(1, round(min(1, scale) * len(items)))]
