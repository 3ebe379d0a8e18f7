"""Executors: run jobs side by side on this machine or in a Ray cluster."""

import heapq
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from charlm.errors import CharlmError, DivergedError, Interrupted
from charlm.execution.forked_workers import start_local_worker
from charlm.execution.jobs import Executor, Job, Worker, is_begun_elsewhere, last_line
from charlm.execution.ray_cluster import connect
from charlm.execution.signals import defer_signals
from charlm.progress import NoProgress, Progress
from charlm.results.jobs import JobState, JobStatus
from charlm.storage import files

logger = logging.getLogger("charlm")

ExecutorKind = Literal["local", "ray"]
# Exit codes of a worker that was told to stop and saved. The parent told it nothing, so somebody
# else did.
SIGNAL_EXIT_CODES = (129, 130, 143)
MAX_RESTARTS = 3  # times that the process of a job may be killed
POLL_INTERVAL = 0.5  # seconds


class JobFailedError(CharlmError):
    """A job failed; its exit code becomes the exit code of this process."""


@dataclass(frozen=True)
class LocalExecutor:
    """Runs jobs on this machine."""

    max_parallel: int
    device: str

    @property
    def description(self) -> str:
        """Device of the jobs."""
        return self.device

    def capacity(self) -> int:
        """Return the number of jobs that may run side by side."""
        return self.max_parallel

    def start(self, job: Job, log: Path) -> Worker:
        """Start a job in a process of its own."""
        return start_local_worker(job.next_argv(), log, Path.cwd())


@dataclass(frozen=True)
class Execution:
    """Executor, directory of logs and progress display of jobs."""

    directory: Path  # logs are in its subdirectory `logs`
    executor: Executor
    progress: Progress = NoProgress()


@contextmanager
def make_executor(
    kind: ExecutorKind, address: str, device: str, jobs: int, directory: Path
) -> Iterator[Executor]:
    """Create an executor for jobs in a directory that the caller has locked.

    Args:
        kind: "local" or "ray".
        address: HOST:PORT of the Ray cluster; empty for the one of this machine.
        device: Device of the jobs: resolved for "local", as requested for "ray".
        jobs: Number of jobs side by side (per GPU in a cluster with GPUs); 0: as many as fit
            ("ray" only).
        directory: Directory of the jobs.

    Raises:
        ClusterError: No cluster answers.
        ConfigError: The cluster has no such device.
    """
    if kind == "local":
        yield LocalExecutor(jobs, device)
        return
    with connect(address or "auto", device, jobs, directory) as cluster:
        if os.environ.get("RAY_AUTH_MODE") != "token":
            logger.warning(
                "note: the cluster at %s requires no token: anyone who reaches its ports can run "
                "programs on its machines (RAY_AUTH_MODE=token)",
                cluster.address,
            )
        yield cluster


def run_jobs(jobs: Sequence[Job], execution: Execution) -> None:
    """Run all jobs that are not finished, and show their progress.

    Raises:
        Interrupted: A signal came; every job has saved its state.
        JobFailedError: A job failed, other than by divergence; the other jobs have saved.
    """
    if not jobs:
        return
    try:
        with (
            defer_signals("stopping: running jobs save their state") as received,
            closing(
                iter_job_states(
                    jobs, execution.directory, execution.executor, lambda: bool(received)
                )
            ) as updates,
            execution.progress.jobs() as show,
        ):
            for states in updates:
                show(states)
    except OSError:
        if not received:  # else the terminal is gone, and the display with it
            raise
    if received:
        raise Interrupted(received[0], "all is saved; run the same command again to continue")


def iter_job_states(
    jobs: Sequence[Job], directory: Path, executor: Executor, stop: Callable[[], bool]
) -> Generator[list[JobState], None, None]:
    """Run all jobs that are not finished, as many side by side as the executor can take.

    A job whose process was killed from outside, or stopped by somebody else, is started again and
    continues from its directory. If `stop` returns True or a job fails, all workers are told to
    save, and are waited for.

    Args:
        jobs: Jobs in the order of their start.
        directory: Logs are written to its subdirectory `logs`.
        executor: Place where the jobs run.
        stop: Whether to stop; called at every poll.

    Yields:
        The state of every job, in the order of `jobs`, about twice a second.

    Raises:
        JobFailedError: A job failed, other than by divergence.
    """
    tracked = [(job, JobState(job.name)) for job in jobs]
    for job, state in tracked:
        _refresh(job, state)
    pending = [(job, state) for job, state in tracked if state.status == "pending"]
    running: list[tuple[Worker, Sequence[str], Job, JobState]] = []  # with their command
    files.make_directory(directory / "logs")
    try:
        while pending or running:
            while pending and len(running) < executor.capacity() and not stop():
                job, state = pending.pop(0)
                argv = job.next_argv()
                worker = executor.start(job, _log_path(job, directory))
                running.append((worker, argv, job, state))
                state.status = "running"
            if stop():
                return
            time.sleep(POLL_INTERVAL)
            for worker, argv, job, state in list(running):
                _refresh(job, state)
                code = worker.poll()
                if code is None:
                    continue
                running.remove((worker, argv, job, state))
                was_killed = code < 0 or code in SIGNAL_EXIT_CODES
                if was_killed and state.restarts < MAX_RESTARTS:
                    state.restarts += 1
                    state.status = "pending"
                    pending.insert(0, (job, state))
                elif is_begun_elsewhere(code, argv, job.next_argv()):
                    state.status = "pending"
                    pending.insert(0, (job, state))
                else:
                    state.status = _final_status(code, job, directory)
            yield [state for _, state in tracked]
    finally:
        for worker, *_ in running:
            worker.terminate()
        for worker, *_ in running:
            worker.wait()
    yield [state for _, state in tracked]


def _refresh(job: Job, state: JobState) -> None:
    state.progress = job.poll_progress()
    state.status = state.progress.status or state.status


def _log_path(job: Job, directory: Path) -> Path:
    return directory / "logs" / f"{job.path.name}.log"


def _final_status(code: int, job: Job, directory: Path) -> JobStatus:
    """Return the status of a job whose worker ended with this exit code.

    Raises:
        JobFailedError: It neither finished nor diverged.
    """
    if code == 0:
        return "finished"
    if code == DivergedError.code:
        return "diverged"
    if code < 0 or code in SIGNAL_EXIT_CODES:
        number = -code if code < 0 else code - 128
        raise JobFailedError(
            f"{job.name}: its process was killed {MAX_RESTARTS + 1} times, by signal {number}. "
            "What it had saved is kept. Use fewer --jobs if memory is short, then run the same "
            "command again"
        )
    cause = last_line(_log_path(job, directory)).removeprefix("charlm: ") or f"exit code {code}"
    failure = JobFailedError(f"{job.name}: {cause}")
    failure.code = code
    raise failure


def makespan(seconds: Iterable[float], parallel: int) -> float:
    """Return the seconds until jobs have ended that are started in order on parallel workers."""
    ends = [0.0] * parallel
    for duration in seconds:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
