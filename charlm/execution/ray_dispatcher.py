"""The process that speaks with Ray: jobs come in, a line each, and go out to machines.

At the end of what comes in, all jobs save and end. Where a machine is lost, Ray starts its jobs
elsewhere, and they go on from their directories; the lock there keeps out two of one job.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import msgspec
import ray
from ray.exceptions import AuthenticationError, RayError, RayTaskError, TaskCancelledError

from charlm.errors import LockedError
from charlm.execution.jobs import start_worker
from charlm.execution.ray_cluster import DispatcherMessage, RemoteJob, environment_fingerprint

MAX_NODE_FAILURES = 10  # times that a job may lose its machine
# A machine that was given up may still write: until it notices, or the file server does (90 s).
RETRY_INTERVAL, LOCK_TIMEOUT = 5.0, 300.0  # seconds


def main() -> None:
    """Connects to the cluster whose address is the argument, and serves until there is no more."""
    (address,) = sys.argv[1:]
    answers = os.dup(1)
    os.dup2(2, 1)  # Ray prints there, too

    def tell(told: DispatcherMessage) -> None:
        os.write(answers, msgspec.json.encode(told) + b"\n")

    if why := connect_error(address):
        tell(DispatcherMessage(why=f"--ray-address {address}: {why}"))
    else:
        with open(0, "rb", buffering=0) as asked:
            run_dispatcher(asked, tell)


def connect_error(address: str) -> str:
    """Why this process cannot join the cluster; "": it has."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level="critical")
    except ConnectionError as error:
        if AuthenticationError.__name__ in str(error.__cause__):
            return (
                "the cluster wants its token, and was given none or another: set "
                "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN as on its machines"
            )
        return "no Ray cluster is there: start one with ray start --head, or name another"
    except (ValueError, RuntimeError, RayError) as error:
        return " ".join(str(error).split())
    return ""


def run_dispatcher(asked: FileIO, tell: Callable[[DispatcherMessage], None]) -> None:
    """Has each job done that is asked for, and tells how it ended."""
    attempts = ray.remote(run_job)
    running: dict[ray.ObjectRef, int] = {}
    more = True
    while more or running:
        tell(cluster_resources())
        ready = select.select([asked] if more else [], [], [], 0.3)[0]
        line = asked.readline() if ready else b""
        if line:
            task = msgspec.json.decode(line, type=RemoteJob)
            options = {"num_cpus": 1, "num_gpus": task.gpus, "max_retries": MAX_NODE_FAILURES}
            running[attempts.options(name=task.name, **options).remote(task)] = task.number
        elif ready:
            more = False
            for one in running:
                ray.cancel(one)
        ended = ray.wait(list(running), timeout=0)[0] if running else []
        for one in ended:
            tell(job_result(one, running.pop(one)))


def cluster_resources() -> DispatcherMessage:
    """What the cluster has; told again and again, it says that it is there."""
    found = ray.cluster_resources()
    return DispatcherMessage(cpus=int(found.get("CPU", 0)), gpus=int(found.get("GPU", 0)))


def job_result(one: "ray.ObjectRef", number: int) -> DispatcherMessage:
    try:
        code, why = ray.get(one)
        return DispatcherMessage(number, code, why=why)
    except TaskCancelledError:
        return DispatcherMessage(number, 128 + signal.SIGTERM)
    except RayError as error:
        last = -1 if isinstance(error, RayTaskError) else 0  # of a traceback
        return DispatcherMessage(
            number, why=f"Ray could not do a job: {str(error).strip().splitlines()[last]}"
        )


def run_job(task: RemoteJob) -> tuple[int, str]:
    """On one of the machines: the exit code of the job; or why it cannot be done there."""
    host = os.uname().nodename
    if environment_fingerprint() != task.made_by:
        return (
            0,
            f"{host} has {environment_fingerprint()}, and not {task.made_by}: have the same everywhere",
        )
    if not (sees_lock(Path(task.shared)) and Path(task.directory).is_dir()):
        return 0, (
            f"{host} does not see that {task.shared} is being written: share that directory, and "
            f"{task.directory}, under the same paths and with file locks between machines"
        )
    environment = {**os.environ}
    if not task.gpus:  # `auto` must not find one that others were given
        environment["CUDA_VISIBLE_DEVICES"] = ""
    begun = task.words, Path(task.log), Path(task.directory), environment
    tries = 0.0
    while (code := wait_for_exit(start_worker(*begun))) == LockedError.code:
        if (tries := tries + RETRY_INTERVAL) > LOCK_TIMEOUT:
            break
        time.sleep(RETRY_INTERVAL)
    return code, ""


def sees_lock(shared: Path) -> bool:
    """Whether this machine sees the lock that who asks for jobs has there (charlm.run.writer)."""
    try:
        with (shared / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it is not there, or has no locks at all
        return False
    return False


def wait_for_exit(worker: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process, which is told to save and end when Ray interrupts us."""
    try:
        while (code := worker.poll()) is None:
            time.sleep(0.2)  # Ray interrupts Python, not what waits within the system
        return code
    finally:
        worker.terminate()
        worker.wait()
