"""Dispatcher process for Ray: reads jobs from stdin and runs them on the machines of a cluster.

At the end of its input all jobs save and stop. If a machine is lost, Ray starts its jobs on another
one, where they continue from their directories. The lock of a directory prevents two processes from
writing the same job.
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
from charlm.execution.jobs import is_begun_elsewhere, next_argv, start_worker
from charlm.execution.ray_cluster import DispatcherMessage, RemoteJob, environment_fingerprint

MAX_NODE_FAILURES = 10  # times that a job may lose its machine
# A machine that counts as lost may still write, until it or the file server notices (90 s).
RETRY_INTERVAL, LOCK_TIMEOUT = 5.0, 300.0  # seconds


def main() -> None:
    """Connect to the cluster whose address is the argument, and run jobs until the input ends."""
    (address,) = sys.argv[1:]
    messages = os.dup(1)
    os.dup2(2, 1)  # Ray writes to stdout, too

    def send(message: DispatcherMessage) -> None:
        os.write(messages, msgspec.json.encode(message) + b"\n")

    if problem := connect_error(address):
        send(DispatcherMessage(failure=f"--ray-address {address}: {problem}"))
    else:
        with open(0, "rb", buffering=0) as requests:
            run_dispatcher(requests, send)


def connect_error(address: str) -> str:
    """Connect to the cluster; return why that failed, or "" on success."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level="critical")
    except ConnectionError as error:
        if AuthenticationError.__name__ in str(error.__cause__):
            return (
                "the cluster requires a token. Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on "
                "its machines"
            )
        return "no Ray cluster answers. Start one with ray start --head, or correct the address"
    except (ValueError, RuntimeError, RayError) as error:
        return " ".join(str(error).split())
    return ""


def run_dispatcher(requests: FileIO, send: Callable[[DispatcherMessage], None]) -> None:
    """Run every requested job, and send its result and the resources of the cluster."""
    remote_run = ray.remote(run_job)
    running: dict[ray.ObjectRef, int] = {}
    has_input = True
    while has_input or running:
        send(cluster_resources())
        ready = select.select([requests] if has_input else [], [], [], 0.3)[0]
        line = requests.readline() if ready else b""
        if line:
            job = msgspec.json.decode(line, type=RemoteJob)
            options = {"num_cpus": 1, "num_gpus": job.gpus, "max_retries": MAX_NODE_FAILURES}
            running[remote_run.options(name=job.name, **options).remote(job)] = job.number
        elif ready:
            has_input = False
            for reference in running:
                ray.cancel(reference)
        ended = ray.wait(list(running), timeout=0)[0] if running else []
        for reference in ended:
            send(job_result(reference, running.pop(reference)))


def cluster_resources() -> DispatcherMessage:
    """Return the resources of the cluster; sent regularly as a sign of life."""
    resources = ray.cluster_resources()
    return DispatcherMessage(cpus=int(resources.get("CPU", 0)), gpus=int(resources.get("GPU", 0)))


def job_result(reference: "ray.ObjectRef", number: int) -> DispatcherMessage:
    """Return the message for a job that has ended."""
    try:
        code, failure = ray.get(reference)
        return DispatcherMessage(number, code, failure=failure)
    except TaskCancelledError:
        return DispatcherMessage(number, 128 + signal.SIGTERM)
    except RayError as error:
        line = -1 if isinstance(error, RayTaskError) else 0  # the last one of a traceback
        cause = str(error).strip().splitlines()[line]
        return DispatcherMessage(number, failure=f"Ray cannot run a job: {cause}")


def run_job(job: RemoteJob) -> tuple[int, str]:
    """Run a job on this machine; return its exit code, and why it cannot run here or ""."""
    host = os.uname().nodename
    if environment_fingerprint() != job.fingerprint:
        return 0, (
            f"{host} has {environment_fingerprint()}, not {job.fingerprint}. Install the same "
            "versions on all machines"
        )
    if not (sees_lock(Path(job.shared)) and Path(job.directory).is_dir()):
        return 0, (
            f"{host} does not see the lock of {job.shared}. Share that directory and "
            f"{job.directory}, under the same paths and with file locks between machines"
        )
    environment = {**os.environ}
    if not job.gpus:  # `auto` must not find a GPU that was given to another job
        environment["CUDA_VISIBLE_DEVICES"] = ""
    waited = 0.0
    while True:
        argv = next_argv(job.argv, job.resume_argv, Path(job.marker))
        code = wait_for_exit(start_worker(argv, Path(job.log), Path(job.directory), environment))
        if is_begun_elsewhere(code, argv, next_argv(job.argv, job.resume_argv, Path(job.marker))):
            continue
        waited += RETRY_INTERVAL
        if code != LockedError.code or waited > LOCK_TIMEOUT:
            return code, ""
        time.sleep(RETRY_INTERVAL)


def sees_lock(shared: Path) -> bool:
    """Return whether this machine sees the lock that storage.lock holds on the directory."""
    try:
        with (shared / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no lock file, or no support for locks
        return False
    return False


def wait_for_exit(worker: "subprocess.Popen[bytes]") -> int:
    """Return the exit code of a process; if Ray interrupts, tell it to save and stop."""
    try:
        while (code := worker.poll()) is None:
            time.sleep(0.2)  # Ray can interrupt Python, but not a system call
        return code
    finally:
        worker.terminate()
        worker.wait()
