"""Runs done side by side, each by `charlm train` in a process of its own.

What is right lives in the run directories, not here: when a worker or the whole comparison dies,
the same command starts each run again where its last checkpoint left it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from charlm import durable
from charlm.config import Config, arguments, label
from charlm.errors import CharlmError, NonFinite
from charlm.run import Run, is_run

WORKER = "CHARLM_PARENT"  # tells a worker who started it: it stops when that process is gone


@dataclass(frozen=True)
class Planned:
    """One run of a comparison, and where it is kept: named by what decides it."""

    config: Config
    path: Path
    parameters: int
    state_size: int

    @property
    def name(self) -> str:
        return f"{label(self.config.cell)} seed {self.config.seed}"


@dataclass
class State:
    """How far a run of the comparison is."""

    planned: Planned
    status: str = "waiting"  # running, done, diverged
    update: int = 0
    updates: int = 0
    bits: float | None = None  # last quick validation

    def look(self) -> None:
        """Read how far it is from its directory: no worker needs to tell."""
        if not is_run(self.planned.path):
            return
        run = Run(self.planned.path)
        self.updates = run.record.updates
        if run.report:
            self.status, self.update = "done", self.updates
        elif run.diverged:
            self.status = "diverged"
        try:
            with (run.path / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
                lines = file.read().splitlines()[:-1]  # the last may be half written
        except FileNotFoundError:
            return
        for line in lines[1:]:
            record = msgspec.json.decode(line)
            self.update = record["update"]
            self.bits = record.get("valid_bits", self.bits)


def work(
    planned: Sequence[Planned],
    corpus: Sequence[str],
    place: Path,
    jobs: int,
    stop: Callable[[], int],
) -> Iterator[list[State]]:
    """Do what is not done, `jobs` at a time; yields the state of all runs a few times a second.

    When `stop` says so, or one fails, the workers are told, save, and are waited for.
    """
    states = [State(one) for one in planned]
    for state in states:
        state.look()
    waiting = [state for state in states if state.status == "waiting"]
    running: dict[subprocess.Popen[bytes], State] = {}
    durable.make_directory(place / "logs")
    try:
        while waiting or running:
            while waiting and len(running) < jobs and not stop():
                state = waiting.pop(0)
                running[_start(state.planned, corpus, place)] = state
                state.status = "running"
            if stop():
                return
            time.sleep(0.5)
            for worker, state in list(running.items()):
                state.look()
                code = worker.poll()
                if code is not None:
                    del running[worker]
                    state.status = _ended(code, state.planned, place)
            yield states
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait()
    yield states


def _log(planned: Planned, place: Path) -> Path:
    return place / "logs" / f"{planned.path.name}.log"


def _start(planned: Planned, corpus: Sequence[str], place: Path) -> "subprocess.Popen[bytes]":
    """`charlm train` in a process of its own, with a session of its own: Ctrl-C reaches only us."""
    command = [sys.executable, "-m", "charlm", "train", *arguments(planned.config)]
    command += ["--run", str(planned.path), "--resume", "--log-every", "60", "--", *corpus]
    with _log(planned, place).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            env={**os.environ, WORKER: str(os.getpid())},
        )


def _ended(code: int, planned: Planned, place: Path) -> str:
    """What a worker's exit code says of its run; any failure but divergence ends the comparison."""
    if code == 0:
        return "done"
    if code == NonFinite.code:
        return "diverged"
    lines = _log(planned, place).read_text(errors="replace").strip().splitlines()
    problem = WorkerFailed(
        f"{planned.name}: {lines[-1].removeprefix('charlm: ') if lines else code}"
    )
    problem.code = code if code > 0 else CharlmError.code
    raise problem


class WorkerFailed(CharlmError):
    """A run of a comparison failed; its exit code is ours."""


def orphaned() -> bool:
    """Whether the comparison that started this process is gone."""
    parent = os.environ.get(WORKER)
    return parent is not None and os.getppid() != int(parent)
