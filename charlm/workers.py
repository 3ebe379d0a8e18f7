"""Jobs done side by side, each by a charlm command in a process of its own.

What is right lives in the jobs' directories, not here: when a worker or its parent dies, the same
command starts each job again where its directory says that it was.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from charlm import durable
from charlm.errors import CharlmError, NonFinite
from charlm.torchrun import TOLD

WORKER = "CHARLM_PARENT"  # tells a worker who started it: it stops when that process is gone


class Progress(NamedTuple):
    """How far a job is, as its directory says."""

    ended: str = ""  # done or diverged
    done: int = 0
    whole: int = 0  # what `done` will be at the end; 0 while that is not known
    said: str = ""  # what it has come to so far


@dataclass(frozen=True)
class Job:
    """What one process does, and keeps in a directory."""

    name: str
    path: Path
    words: Sequence[str]  # of charlm's command line
    look: Callable[[], Progress]  # from its directory: no worker needs to tell


@dataclass
class State:
    """A job among others."""

    job: Job
    progress: Progress = Progress()
    status: str = "waiting"  # running, done, diverged

    def look(self) -> None:
        self.progress = self.job.look()
        self.status = self.progress.ended or self.status


def work(
    jobs: Sequence[Job], place: Path, side_by_side: int, stop: Callable[[], int]
) -> Iterator[list[State]]:
    """Do what is not done, so many at a time; yields the state of all jobs a few times a second.

    When `stop` says so, or one fails, the workers are told, save, and are waited for.
    """
    states = [State(job) for job in jobs]
    for state in states:
        state.look()
    waiting = [state for state in states if state.status == "waiting"]
    running: dict[subprocess.Popen[bytes], State] = {}
    durable.make_directory(place / "logs")
    try:
        while waiting or running:
            while waiting and len(running) < side_by_side and not stop():
                state = waiting.pop(0)
                running[_start(state.job, place)] = state
                state.status = "running"
            if stop():
                return
            time.sleep(0.5)
            for worker, state in list(running.items()):
                state.look()
                code = worker.poll()
                if code is not None:
                    del running[worker]
                    state.status = _ended(code, state.job, place)
            yield states
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait()
    yield states


def _log(job: Job, place: Path) -> Path:
    return place / "logs" / f"{job.path.name}.log"


def _start(job: Job, place: Path) -> "subprocess.Popen[bytes]":
    """A process of its own, with a session of its own: Ctrl-C reaches only us."""
    kept = {name: value for name, value in os.environ.items() if not TOLD.fullmatch(name)}
    with _log(job, place).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "charlm", *job.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            env={**kept, WORKER: str(os.getpid())},
        )


def _ended(code: int, job: Job, place: Path) -> str:
    """What a worker's exit code says of its job; any failure but divergence ends all of them."""
    if code == 0:
        return "done"
    if code == NonFinite.code:
        return "diverged"
    lines = _log(job, place).read_text(errors="replace").strip().splitlines()
    problem = WorkerFailed(f"{job.name}: {lines[-1].removeprefix('charlm: ') if lines else code}")
    problem.code = code if code > 0 else CharlmError.code
    raise problem


class WorkerFailed(CharlmError):
    """A job failed; its exit code is ours."""


def orphaned() -> bool:
    """Whether the process that started this one is gone."""
    parent = os.environ.get(WORKER)
    return parent is not None and os.getppid() != int(parent)
