"""Machines that Ray has joined, as an engine for jobs.

They share the directory of the jobs, and locks on its files. With Ray itself speaks a process of
its own (charlm/dispatch.py): what Ray prints stays in a log, and where Ray aborts, we do not.
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
from charlm.execution.jobs import Job, Worker
from charlm.storage import files

CLUSTER_TIMEOUT = 30.0  # seconds of silence after which a cluster is not there, or no longer
DISPATCHER_COMMAND = [
    sys.executable,
    "-c",
    "from charlm.execution.ray_dispatcher import main; main()",
]


class RemoteJob(msgspec.Struct, frozen=True):
    """A job, as one of the machines is told of it."""

    number: int
    name: str
    words: Sequence[str]
    log: str
    directory: str  # that it is begun in
    shared: str  # the directory that its starter has locked
    made_by: str
    gpus: float  # may be a part of one


class DispatcherMessage(msgspec.Struct, frozen=True):
    """What the dispatcher says: how a job ended, or what the cluster has, or why there is none."""

    number: int | None = None
    code: int = 0
    cpus: int = 0
    gpus: int = 0
    why: str = ""


def environment_fingerprint() -> str:
    """What must be the same on all machines; Ray itself asks for one Python."""
    torch, _, _ = version("torch").partition("+")  # builds for a GPU and for none are one version
    return f"charlm {__version__} with torch {torch}"


@contextmanager
def connect(address: str, device: str, jobs: int, place: Path) -> Iterator["RayExecutor"]:
    """The cluster at this address, for jobs in a directory that the caller has locked.

    device: as asked for; jobs: at most so many at a time, on CUDA of each GPU; 0: as is best.
    """
    log = place / "logs" / "ray.log"
    files.make_directory(log.parent)
    with (
        log.open("ab") as file,
        subprocess.Popen(
            [*DISPATCHER_COMMAND, address],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,  # Ctrl-C reaches only us
        ) as process,
    ):
        try:
            yield RayExecutor(process, address, device, jobs, place)
        finally:
            process.kill()  # of what it began, all has ended


class RayExecutor:
    """The machines together."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", address: str, device: str, jobs: int, place: Path
    ) -> None:
        assert process.stdin and process.stdout
        self.asks, self.answers = process.stdin, process.stdout
        self.address, self.jobs, self.place = address, jobs, place
        self.begun = 0
        self.there = DispatcherMessage()
        self.codes: dict[int, int] = {}  # of jobs that have ended, by number
        self.refused: dict[int | None, str] = {}  # why one, or any, cannot be done
        self.gone = False
        self.heard = time.monotonic()
        if not select.select([self.answers], [], [], CLUSTER_TIMEOUT)[0]:
            raise ClusterError(
                f"no Ray cluster answers at {address} within {CLUSTER_TIMEOUT:.0f} s: start one with "
                "ray start --head, or correct --ray-address"
            )
        self.poll_messages()
        if self.refused:
            raise ClusterError(self.refused[None])
        if self.gone:
            raise self.connection_lost_error()
        if device.startswith("cuda:"):
            raise ConfigError(f"--device {device}: Ray chooses which GPU, so say --device cuda")
        if device == "cuda" and not self.there.gpus:
            raise ConfigError(
                f"--device cuda: the cluster at {address} has no GPU that Ray knows of"
            )
        self.device = "cuda" if self.there.gpus and device != "cpu" else "cpu"

    @property
    def description(self) -> str:
        return f"{self.device} in the cluster at {self.address}"

    def capacity(self) -> int:
        """As many as there are cores, or as share the GPUs; machines may come and go."""
        self.poll_messages()
        if self.gone:
            raise self.connection_lost_error()
        if self.device == "cuda":
            return max(1, self.there.gpus) * (self.jobs or 1)
        cores = max(1, self.there.cpus)
        return min(cores, self.jobs or cores)

    def start(self, job: Job, log: Path) -> Worker:
        self.begun += 1
        task = RemoteJob(
            number=self.begun,
            name=job.name,
            words=job.argv,
            log=str(log.absolute()),
            directory=os.getcwd(),
            shared=str(self.place.absolute()),
            made_by=environment_fingerprint(),
            gpus=1 / (self.jobs or 1) if self.device == "cuda" else 0.0,
        )
        try:
            self.asks.write(msgspec.json.encode(task) + b"\n")
        except BrokenPipeError:
            raise self.connection_lost_error() from None
        return RemoteWorker(self, task.number)

    def poll_messages(self) -> None:
        """What has been told since."""
        while select.select([self.answers], [], [], 0)[0]:
            line = self.answers.readline()
            if not line:
                self.gone = True
                return
            self.heard = time.monotonic()
            told = msgspec.json.decode(line, type=DispatcherMessage)
            if told.why:
                self.refused[told.number] = told.why
            if told.number is not None:
                self.codes[told.number] = ClusterError.code if told.why else told.code
            elif not told.why:
                self.there = told
        self.gone = time.monotonic() - self.heard > CLUSTER_TIMEOUT

    def shutdown(self) -> None:
        """Every job saves and ends."""
        self.asks.close()

    def connection_lost_error(self) -> ClusterError:
        return ClusterError(
            f"the cluster at {self.address} is lost ({self.place / 'logs' / 'ray.log'} may say "
            "why). What was done is kept: the same command goes on with it, also --executor local"
        )


@dataclass(frozen=True)
class RemoteWorker:
    """A job in the cluster, to be asked about as a process is."""

    cluster: RayExecutor
    number: int

    def poll(self) -> int | None:
        self.cluster.poll_messages()
        if self.number in self.cluster.refused:
            raise ClusterError(self.cluster.refused[self.number])
        code = self.cluster.codes.get(self.number)
        if code is None and self.cluster.gone:
            raise self.cluster.connection_lost_error()
        return code

    def terminate(self) -> None:
        self.cluster.shutdown()

    def wait(self) -> int:
        while self.number not in self.cluster.codes and not self.cluster.gone:
            time.sleep(0.1)
            self.cluster.poll_messages()
        return self.cluster.codes.get(self.number, ClusterError.code)
