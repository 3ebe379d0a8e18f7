"""Executor for a Ray cluster whose machines share a file system.

Ray runs in a separate dispatcher process (ray_dispatcher.py), so that its output goes to a log and
its crashes cannot kill this process. The machines share the directory of the jobs, and its file
locks.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from charlm import __version__
from charlm.errors import ClusterError, ConfigError
from charlm.execution.jobs import Job, Worker, open_log
from charlm.storage import files

CLUSTER_TIMEOUT = 30.0  # seconds without a message after which the cluster counts as lost
DISPATCHER_COMMAND = [
    sys.executable,
    "-c",
    "from charlm.execution.ray_dispatcher import main; main()",
]


class RemoteJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the dispatcher receives it."""

    number: int
    name: str
    argv: Sequence[str]
    resume_argv: Sequence[str]
    marker: str  # file that exists once the job has begun
    log: str
    directory: str  # working directory
    shared: str  # directory that this process has locked
    fingerprint: str  # software that every machine must have
    gpus: float  # may be a fraction of one


class DispatcherMessage(msgspec.Struct, frozen=True):
    """A message of the dispatcher: resources of the cluster, the end of a job, or a failure."""

    number: int | None = None  # of the job
    code: int = 0  # exit code of the job
    cpus: int = 0
    gpus: int = 0
    failure: str = ""  # why the job, or without a number any job, cannot run


def environment_fingerprint() -> str:
    """Return the versions that must be equal on all machines; Ray checks Python's itself."""
    torch, _, _ = version("torch").partition("+")  # builds with and without CUDA are compatible
    return f"charlm {__version__} with torch {torch}"


@contextmanager
def connect(address: str, device: str, jobs: int, directory: Path) -> Iterator["RayExecutor"]:
    """Connect to a cluster, for jobs in a directory that the caller has locked.

    Args:
        address: HOST:PORT, or "auto".
        device: "auto", "cpu" or "cuda".
        jobs: Largest number of jobs side by side, with CUDA per GPU; 0: as many as fit.
        directory: Directory of the jobs; Ray's output goes to its `logs/ray.log`.

    Raises:
        ClusterError: No cluster answers, or it refuses.
        ConfigError: The cluster has no such device.
    """
    log = directory / "logs" / "ray.log"
    files.make_directory(log.parent)
    with (
        open_log(log) as file,
        subprocess.Popen(
            [*DISPATCHER_COMMAND, address],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,  # Ctrl-C reaches only this process
        ) as process,
    ):
        try:
            yield RayExecutor(process, address, device, jobs, directory)
        finally:
            process.kill()  # its jobs have all ended


class RayExecutor:
    """Runs jobs on the machines of a Ray cluster."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        address: str,
        device: str,
        jobs: int,
        directory: Path,
    ) -> None:
        assert process.stdin and process.stdout
        self.requests, self.messages = process.stdin, process.stdout
        self.address, self.jobs, self.directory = address, jobs, directory
        self.jobs_started = 0
        self.resources = DispatcherMessage()
        self.exit_codes: dict[int, int] = {}  # of jobs that have ended, by number
        self.failures: dict[int | None, str] = {}  # by number of the job; None: of the cluster
        self.is_lost = False
        self.last_message = time.monotonic()
        if not select.select([self.messages], [], [], CLUSTER_TIMEOUT)[0]:
            raise ClusterError(
                f"no Ray cluster answers at {address} within {CLUSTER_TIMEOUT:.0f} s. Start one "
                "with ray start --head, or correct --ray-address"
            )
        self.poll_messages()
        if self.failures:
            raise ClusterError(self.failures[None])
        if self.is_lost:
            raise self.connection_lost_error()
        if device.startswith("cuda:"):
            raise ConfigError(f"--device {device}: Ray chooses the GPU. Try --device cuda")
        if device == "cuda" and not self.resources.gpus:
            raise ConfigError(f"--device cuda: Ray finds no GPU in the cluster at {address}")
        self.device = "cuda" if self.resources.gpus and device != "cpu" else "cpu"

    @property
    def description(self) -> str:
        """Device and address of the cluster."""
        return f"{self.device} in the cluster at {self.address}"

    def capacity(self) -> int:
        """Return the number of jobs side by side: by cores, or by shares of the GPUs."""
        self.poll_messages()  # machines may join and leave
        if self.is_lost:
            raise self.connection_lost_error()
        if self.device == "cuda":
            return max(1, self.resources.gpus) * (self.jobs or 1)
        cores = max(1, self.resources.cpus)
        return min(cores, self.jobs or cores)

    def start(self, job: Job, log: Path) -> Worker:
        """Send a job to the dispatcher."""
        self.jobs_started += 1
        request = RemoteJob(
            number=self.jobs_started,
            name=job.name,
            argv=job.argv,
            resume_argv=job.resume_argv,
            marker=str((job.path / job.marker).absolute()),
            log=str(log.absolute()),
            directory=os.getcwd(),
            shared=str(self.directory.absolute()),
            fingerprint=environment_fingerprint(),
            gpus=1 / (self.jobs or 1) if self.device == "cuda" else 0.0,
        )
        try:
            self.requests.write(msgspec.json.encode(request) + b"\n")
        except BrokenPipeError:
            raise self.connection_lost_error() from None
        return RemoteWorker(self, request.number)

    def poll_messages(self) -> None:
        """Read all messages that have arrived."""
        while select.select([self.messages], [], [], 0)[0]:
            line = self.messages.readline()
            if not line:
                self.is_lost = True
                return
            self.last_message = time.monotonic()
            message = msgspec.json.decode(line, type=DispatcherMessage)
            if message.failure:
                self.failures[message.number] = message.failure
            if message.number is not None:
                code = ClusterError.code if message.failure else message.code
                self.exit_codes[message.number] = code
            elif not message.failure:
                self.resources = message
        self.is_lost = time.monotonic() - self.last_message > CLUSTER_TIMEOUT

    def shutdown(self) -> None:
        """Ask all jobs to save and stop."""
        self.requests.close()

    def connection_lost_error(self) -> ClusterError:
        """Return the error for a cluster that no longer answers."""
        return ClusterError(
            f"the cluster at {self.address} is lost ({self.directory / 'logs' / 'ray.log'} may "
            "say why). Finished work is kept: run the same command again to continue, also with "
            "--executor local"
        )


@dataclass(frozen=True)
class RemoteWorker:
    """A job in the cluster, with the interface of a process."""

    cluster: RayExecutor
    number: int

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        self.cluster.poll_messages()
        if self.number in self.cluster.failures:
            raise ClusterError(self.cluster.failures[self.number])
        code = self.cluster.exit_codes.get(self.number)
        if code is None and self.cluster.is_lost:
            raise self.cluster.connection_lost_error()
        return code

    def terminate(self) -> None:
        """Ask all jobs of the cluster to save and stop."""
        self.cluster.shutdown()

    def wait(self) -> int:
        """Wait until it has stopped and return the exit code."""
        while self.number not in self.cluster.exit_codes and not self.cluster.is_lost:
            time.sleep(0.1)
            self.cluster.poll_messages()
        return self.cluster.exit_codes.get(self.number, ClusterError.code)
