"""Torn and short writes: half of each write and then SIGKILL; every write shortened at random."""

import shutil
import signal
import tempfile
from pathlib import Path

from faults import processes
from faults.hazard import Hazard
from faults.kills import count_of, reference, spread
from faults.operations import intercept, shorten_writes, tear_write

SHORTENED = 10  # runs


def run(scale: float) -> Hazard:
    """Tear each write of a run that saves every step, and shorten all writes of whole runs."""
    started, trials = processes.cpu_seconds(), 0
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        processes.warm_up(directory)
        path = directory / "torn"
        survival = reference(directory, path.name)
        writes = count_of(survival.command, directory, path, "write")
        shutil.rmtree(path)
        for number in spread(writes, scale):
            ended = processes.run(
                survival.command,
                directory,
                lambda number=number: intercept(str(path), tear_write(number)),  # type: ignore[misc]
            )
            killed = ended.code == -signal.SIGKILL
            problem = survival.check(path) if killed else "it was not killed"
            if problem:
                failures.append(f"write {number}: {problem}")
            trials += 1
            shutil.rmtree(path, ignore_errors=True)
        for seed in range(max(1, round(SHORTENED * scale))):
            ended = processes.run(
                survival.command,
                directory,
                lambda seed=seed: intercept(str(path), shorten_writes(seed)),  # type: ignore[misc]
            )
            if ended.code or processes.digest_outcome(path) != survival.outcome:
                failures.append(f"short writes, seed {seed}: {ended.code}, {ended.errors[-200:]}")
            trials += 1
            shutil.rmtree(path, ignore_errors=True)
    return Hazard(
        "torn and short writes",
        "half of each write of a run that saves every step, then SIGKILL, then resumed; and whole "
        "runs in which the system takes only some bytes of every write",
        trials,
        tuple(failures),
        processes.cpu_seconds() - started,
    )
