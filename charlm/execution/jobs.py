"""Jobs that run side by side, each as a charlm command in its own process.

The directory of a job holds its whole state. If a worker or its parent dies, the same command
starts each job again, and it continues from its directory.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from charlm.errors import DataError, OutputExistsError
from charlm.execution.parent_process import PARENT_PID_VARIABLE
from charlm.execution.torchrun import TORCHRUN_VARIABLES
from charlm.results.jobs import JobProgress
from charlm.storage.files import translate_os_errors
from charlm.storage.reading import check_plain_directory, open_regular_file

MAX_JOBS = 1024  # side by side
MAX_LINE_BYTES = 2**16  # of the end of a log that is read


@dataclass(frozen=True)
class Job:
    """Work of one process, kept in one directory."""

    name: str  # unique among jobs that run side by side
    path: Path  # its directory
    argv: Sequence[str]  # charlm command that begins it
    poll_progress: Callable[[], JobProgress]  # reads its directory
    resume_argv: Sequence[str] = ()  # command that continues it; empty: the same as argv
    marker: str = "run.json"  # file in `path` that shows that it has begun

    def next_argv(self) -> Sequence[str]:
        """Return the command to run now."""
        return next_argv(self.argv, self.resume_argv, self.path / self.marker)


def next_argv(argv: Sequence[str], resume_argv: Sequence[str], marker: Path) -> Sequence[str]:
    """Return the command that begins a job, or continues it if the marker file exists now."""
    return resume_argv if resume_argv and marker.exists() else argv


def is_begun_elsewhere(code: int, argv: Sequence[str], next_argv: Sequence[str]) -> bool:
    """Return whether a job could not begin because another process has begun it meanwhile.

    Args:
        code: Exit code of the command.
        argv: The command.
        next_argv: The command that would run now.
    """
    return code == OutputExistsError.code and argv != next_argv


class Worker(Protocol):
    """A running job: a local process or a remote one."""

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def terminate(self) -> None:
        """Ask it to save and stop."""

    def wait(self) -> int:
        """Wait until it has stopped and return the exit code."""


class Executor(Protocol):
    """A place where jobs run."""

    @property
    def description(self) -> str:
        """Device and place, for display."""
        ...

    def capacity(self) -> int:
        """Return the number of jobs that may run side by side now."""

    def start(self, job: Job, log: Path) -> Worker:
        """Start a job; its stderr is appended to the log."""


def open_log(path: Path) -> BinaryIO:
    """Open a log of workers for appending; create it if needed.

    Raises:
        DataError: Something else has its name, such as a link of somebody who made the directory.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    check_plain_directory(path.parent)
    with translate_os_errors("write", path):
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise DataError(f"cannot write {path}: it is no regular file. Remove it, or try --out")
        return open(os.open(path, flags, 0o666), "ab")


def last_line(log: Path) -> str:
    """Return the last line of a log of workers; empty if there is none."""
    with open_regular_file(log) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - MAX_LINE_BYTES))
        lines = file.read(MAX_LINE_BYTES).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def start_worker(
    argv: Sequence[str],
    log: Path,
    directory: Path,
    environment: Mapping[str, str] = os.environ,
) -> "subprocess.Popen[bytes]":
    """Start a charlm command in its own session, so that Ctrl-C reaches only the parent.

    Args:
        argv: Arguments of charlm.
        log: File that stderr is appended to.
        directory: Working directory.
        environment: Environment variables; those of torchrun are removed.
    """
    with open_log(log) as file:
        return subprocess.Popen(
            [sys.executable, "-m", "charlm", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
            env={**worker_environment(environment), PARENT_PID_VARIABLE: str(os.getpid())},
            cwd=directory,
        )


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables without those of torchrun, since a worker trains alone."""
    return {
        name: value for name, value in environment.items() if not TORCHRUN_VARIABLES.fullmatch(name)
    }
