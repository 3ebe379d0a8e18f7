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

from charlm.errors import CharlmError, DivergedError
from charlm.execution.torchrun import TORCHRUN_VARIABLES
from charlm.storage import files

SIGNAL_EXIT_CODES = (
    130,
    143,
)  # exit codes of who was told to stop, and saved; not by us, who would not ask
MAX_RESTARTS = 3  # times that the process of a job may be killed from without
PARENT_PID_VARIABLE = (
    "CHARLM_PARENT"  # tells a worker who started it: it stops when that process is gone
)


class JobProgress(NamedTuple):
    """How far a job is, as its directory says."""

    status: str = ""  # done or diverged
    done: int = 0
    total: int = 0  # what `done` will be at the end; 0 while that is not known
    message: str = ""  # what it has come to so far


@dataclass(frozen=True)
class Job:
    """What one process does, and keeps in a directory."""

    name: str
    path: Path
    argv: Sequence[str]  # of charlm's command line
    poll_progress: Callable[[], JobProgress]  # from its directory: no worker needs to tell


@dataclass
class JobState:
    """A job among others."""

    job: Job
    progress: JobProgress = JobProgress()
    status: str = "waiting"  # running, done, diverged
    killed: int = 0  # times

    def refresh(self) -> None:
        self.progress = self.job.poll_progress()
        self.status = self.progress.status or self.status


class Worker(Protocol):
    """What does a job: a process, or what can be asked as one can."""

    def poll(self) -> int | None:
        """The exit code of the job, once there is one."""

    def terminate(self) -> None:
        """Tells it to save and end."""

    def wait(self) -> int:
        """Until it has ended."""


class Executor(Protocol):
    """Where jobs are done."""

    @property
    def description(self) -> str: ...

    def capacity(self) -> int:
        """How many jobs may be under way now."""

    def start(self, job: Job, log: Path) -> Worker:
        """Has a job begun; what it says goes to the end of the log."""


@dataclass(frozen=True)
class LocalExecutor:
    """This machine."""

    max_parallel: int
    device: str

    @property
    def description(self) -> str:
        """The device."""
        return self.device

    def capacity(self) -> int:
        return self.max_parallel

    def start(self, job: Job, log: Path) -> Worker:
        return start_worker(job.argv, log, Path.cwd())


def describe_executor(engine: Executor) -> str:
    """How many jobs are done at once there, in words."""
    return f"{engine.capacity()} side by side on {engine.description}"


def run_jobs(
    jobs: Sequence[Job], place: Path, engine: Executor, stop: Callable[[], int]
) -> Iterator[list[JobState]]:
    """Do what is not done, as many at a time as there is room for; yields the state of all jobs a
    few times a second.

    When `stop` says so, or one fails, the workers are told, save, and are waited for. A job whose
    process was killed, as by a system that is short of memory, or stopped by somebody else, is
    begun again: it goes on from what its directory has.
    """
    states = [JobState(job) for job in jobs]
    for state in states:
        state.refresh()
    waiting = [state for state in states if state.status == "waiting"]
    running: list[tuple[Worker, JobState]] = []
    files.make_directory(place / "logs")
    try:
        while waiting or running:
            while waiting and len(running) < engine.capacity() and not stop():
                state = waiting.pop(0)
                running.append((engine.start(state.job, _log(state.job, place)), state))
                state.status = "running"
            if stop():
                return
            time.sleep(0.5)
            for worker, state in list(running):
                state.refresh()
                code = worker.poll()
                if code is None:
                    continue
                running.remove((worker, state))
                if (code < 0 or code in SIGNAL_EXIT_CODES) and state.killed < MAX_RESTARTS:
                    state.killed += 1
                    state.status = "waiting"
                    waiting.insert(0, state)
                else:
                    state.status = _job_status(code, state.job, place)
            yield states
    finally:
        for worker, _ in running:
            worker.terminate()
        for worker, _ in running:
            worker.wait()
    yield states


def _log(job: Job, place: Path) -> Path:
    return place / "logs" / f"{job.path.name}.log"


def start_worker(
    words: Sequence[str], log: Path, place: Path, environment: Mapping[str, str] = os.environ
) -> "subprocess.Popen[bytes]":
    """charlm, begun in this directory, in a session of its own: Ctrl-C reaches only us."""
    kept = {
        name: value for name, value in environment.items() if not TORCHRUN_VARIABLES.fullmatch(name)
    }
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "charlm", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
            env={**kept, PARENT_PID_VARIABLE: str(os.getpid())},
            cwd=place,
        )


def _job_status(code: int, job: Job, place: Path) -> str:
    """What a worker's exit code says of its job; any failure but divergence ends all of them."""
    if code == 0:
        return "done"
    if code == DivergedError.code:
        return "diverged"
    if code < 0 or code in SIGNAL_EXIT_CODES:
        killer = -code if code < 0 else code - 128
        raise JobFailedError(
            f"{job.name}: its process was killed {MAX_RESTARTS + 1} times, by signal {killer}. What it had "
            "saved is kept: mend that (use fewer --jobs where memory is short), then the same "
            "command goes on"
        )
    lines = _log(job, place).read_text(errors="replace").strip().splitlines()
    problem = JobFailedError(f"{job.name}: {lines[-1].removeprefix('charlm: ') if lines else code}")
    problem.code = code
    raise problem


class JobFailedError(CharlmError):
    """A job failed; its exit code is ours."""


def is_orphaned() -> bool:
    """Whether the process that started this one is gone."""
    parent = os.environ.get(PARENT_PID_VARIABLE)
    return parent is not None and os.getppid() != int(parent)
