"""Jobs done side by side, each by a charlm command in a process of its own, here or elsewhere.

What is right lives in the jobs' directories, not here: when a worker or its parent dies, the same
command starts each job again where its directory says that it was.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from charlm import durable
from charlm.errors import CharlmError, NonFinite
from charlm.torchrun import TOLD

STOPPED = 130, 143  # exit codes of who was told to stop, and saved; not by us, who would not ask
LOST = 3  # times that the process of a job may be killed from without
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
    killed: int = 0  # times

    def look(self) -> None:
        self.progress = self.job.look()
        self.status = self.progress.ended or self.status


class Worker(Protocol):
    """What does a job: a process, or what can be asked as one can."""

    def poll(self) -> int | None:
        """The exit code of the job, once there is one."""

    def terminate(self) -> None:
        """Tells it to save and end."""

    def wait(self) -> int:
        """Until it has ended."""


class Engine(Protocol):
    """Where jobs are done."""

    @property
    def where(self) -> str: ...

    def room(self) -> int:
        """How many jobs may be under way now."""

    def start(self, job: Job, log: Path) -> Worker:
        """Has a job begun; what it says goes to the end of the log."""


@dataclass(frozen=True)
class Local:
    """This machine."""

    side_by_side: int
    where: str  # the device

    def room(self) -> int:
        return self.side_by_side

    def start(self, job: Job, log: Path) -> Worker:
        return start(job.words, log, Path.cwd())


def told(engine: Engine) -> str:
    """How many jobs are done at once there, in words."""
    return f"{engine.room()} side by side on {engine.where}"


def work(
    jobs: Sequence[Job], place: Path, engine: Engine, stop: Callable[[], int]
) -> Iterator[list[State]]:
    """Do what is not done, as many at a time as there is room for; yields the state of all jobs a
    few times a second.

    When `stop` says so, or one fails, the workers are told, save, and are waited for. A job whose
    process was killed, as by a system that is short of memory, or stopped by somebody else, is
    begun again: it goes on from what its directory has.
    """
    states = [State(job) for job in jobs]
    for state in states:
        state.look()
    waiting = [state for state in states if state.status == "waiting"]
    running: list[tuple[Worker, State]] = []
    durable.make_directory(place / "logs")
    try:
        while waiting or running:
            while waiting and len(running) < engine.room() and not stop():
                state = waiting.pop(0)
                running.append((engine.start(state.job, _log(state.job, place)), state))
                state.status = "running"
            if stop():
                return
            time.sleep(0.5)
            for worker, state in list(running):
                state.look()
                code = worker.poll()
                if code is None:
                    continue
                running.remove((worker, state))
                if (code < 0 or code in STOPPED) and state.killed < LOST:
                    state.killed += 1
                    state.status = "waiting"
                    waiting.insert(0, state)
                else:
                    state.status = _ended(code, state.job, place)
            yield states
    finally:
        for worker, _ in running:
            worker.terminate()
        for worker, _ in running:
            worker.wait()
    yield states


def _log(job: Job, place: Path) -> Path:
    return place / "logs" / f"{job.path.name}.log"


def start(
    words: Sequence[str], log: Path, place: Path, environment: Mapping[str, str] = os.environ
) -> "subprocess.Popen[bytes]":
    """charlm, begun in this directory, in a session of its own: Ctrl-C reaches only us."""
    kept = {name: value for name, value in environment.items() if not TOLD.fullmatch(name)}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "charlm", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
            env={**kept, WORKER: str(os.getpid())},
            cwd=place,
        )


def _ended(code: int, job: Job, place: Path) -> str:
    """What a worker's exit code says of its job; any failure but divergence ends all of them."""
    if code == 0:
        return "done"
    if code == NonFinite.code:
        return "diverged"
    if code < 0 or code in STOPPED:
        killer = -code if code < 0 else code - 128
        raise WorkerFailed(
            f"{job.name}: its process was killed {LOST + 1} times, by signal {killer}. What it had "
            "saved is kept: mend that (use fewer --jobs where memory is short), then the same "
            "command goes on"
        )
    lines = _log(job, place).read_text(errors="replace").strip().splitlines()
    problem = WorkerFailed(f"{job.name}: {lines[-1].removeprefix('charlm: ') if lines else code}")
    problem.code = code
    raise problem


class WorkerFailed(CharlmError):
    """A job failed; its exit code is ours."""


def orphaned() -> bool:
    """Whether the process that started this one is gone."""
    parent = os.environ.get(WORKER)
    return parent is not None and os.getppid() != int(parent)
