"""Fork server: a process that has imported PyTorch, from which workers are forked.

Importing PyTorch takes seconds of CPU time, which each worker would spend again. The server only
imports: it has one thread, and neither computes nor starts CUDA, so that forking it is safe. Each
worker is a process of its own in a session of its own, as if its command had been typed.

On macOS, whose libraries do not survive a fork, workers are new processes.
"""

import atexit
import ctypes
import gc
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec

from charlm.errors import CharlmError
from charlm.execution.jobs import PARENT_PID_VARIABLE, Worker, start_worker, worker_environment

CAN_FORK = sys.platform == "linux"
# What the commands of workers import. Packages are imported with all of their modules.
PRELOADED_MODULES = ("charlm.cli.main", "charlm.reporting.terminal.progress")
# Typer imports this when it parses the first option; other versions of it have no such module.
PRELOADED_IF_THERE = "typer._adapters"
PRELOADED_PACKAGES = (
    *("charlm.cells", "charlm.kernels", "charlm.data", "charlm.models", "charlm.runs"),
    *("charlm.evaluation", "charlm.training", "charlm.probes", "charlm.tasks", "charlm.testing"),
)
COMMAND_LINE_BYTES = 4096  # reserved for the command that `ps` shows for a worker
KILLED = -signal.SIGKILL  # exit code of a worker whose own was lost with the server


class Request(msgspec.Struct, frozen=True):
    """Request to the server: start a worker, or send it SIGTERM if it has no command."""

    number: int
    argv: tuple[str, ...] = ()
    log: str = ""
    directory: str = ""
    environment: dict[str, str] = {}


class Reply(msgspec.Struct, frozen=True):
    """A worker has started, or has ended with an exit code."""

    number: int
    pid: int
    code: int | None = None


class ForkServer:
    """The server as its parent sees it. It ends with its parent, however that ends."""

    def __init__(self) -> None:
        self.connection, theirs = socket.socketpair()
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.lock = threading.Lock()
        self.received = b""
        self.replies: dict[int, Reply] = {}
        self.count = 0
        self.has_ended = False
        with theirs:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "charlm.execution.fork_server"),
                    *(str(theirs.fileno()), " " * COMMAND_LINE_BYTES),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                start_new_session=True,
                env=worker_environment(os.environ),
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    def start(self, argv: Sequence[str], log: Path, directory: Path) -> "ForkedWorker":
        """Start a charlm command as `start_worker` does.

        Raises:
            CharlmError: The server has ended before the command started.
        """
        with self.lock:
            self.count += 1
            number = self.count
            request = Request(
                *(number, tuple(argv), str(log.absolute()), str(directory.absolute())),
                worker_environment(os.environ),
            )
            self._send(request)
            while number not in self.replies and not self.has_ended:
                self._receive(timeout=None)
            if number not in self.replies:
                raise CharlmError(self._failure())
            return ForkedWorker(self, number, self.replies[number].pid)

    def is_running(self) -> bool:
        """Return whether the server can start workers."""
        with self.lock:
            self._receive(timeout=0)
            return not self.has_ended

    def exit_code(self, number: int) -> int | None:
        """Return the exit code of a worker, or None while it runs."""
        with self.lock:
            self._receive(timeout=0)
            reply = self.replies[number]
            if reply.code is None and self.has_ended and not _is_alive(reply.pid):
                return KILLED
            return reply.code

    def terminate(self, number: int) -> None:
        """Send SIGTERM to a worker. The server sends it, since it alone knows whether it lives."""
        with self.lock:
            self._send(Request(number))

    def close(self) -> None:
        """End the server."""
        self.connection.close()
        self.process.wait()
        self.errors.close()

    def _send(self, request: Request) -> None:
        with suppress(OSError):  # it has ended, as the next _receive finds out
            self.connection.sendall(msgspec.json.encode(request) + b"\n")

    def _receive(self, timeout: float | None) -> None:
        """Read replies until there is none within the timeout; None: wait for one."""
        while not self.has_ended and select.select([self.connection], [], [], timeout)[0]:
            data = b""
            with suppress(ConnectionError):
                data = self.connection.recv(1 << 16)
            self.has_ended = not data
            *lines, self.received = (self.received + data).split(b"\n")
            for line in lines:
                reply = msgspec.json.decode(line, type=Reply)
                self.replies[reply.number] = reply
            timeout = 0

    def _failure(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        cause = lines[-1] if lines else f"exit code {code}"
        return (
            f"cannot start workers: the process that starts them has ended ({cause}). "
            "Free memory if it is short, then run the same command again"
        )


class ForkedWorker:
    """A worker of a fork server."""

    def __init__(self, server: ForkServer, number: int, pid: int) -> None:
        self.server, self.number, self.pid = server, number, pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs."""
        return self.server.exit_code(self.number)

    def terminate(self) -> None:
        """Ask it to save and stop."""
        self.server.terminate(self.number)

    def wait(self) -> int:
        """Wait until it has stopped and return the exit code."""
        while (code := self.poll()) is None:
            time.sleep(0.02)
        return code


def start_local_worker(argv: Sequence[str], log: Path, directory: Path) -> Worker:
    """Start a charlm command on this machine; its stderr is appended to the log."""
    if not CAN_FORK:
        return start_worker(argv, log, directory)
    if not running_server().is_running():
        running_server().close()
        running_server.cache_clear()
    return running_server().start(argv, log, directory)


@cache
def running_server() -> ForkServer:
    """Return the fork server of this process, started at the first call."""
    return ForkServer()


def worker_cpu_seconds() -> float:
    """Return the CPU seconds of the fork server, and of all workers of it that have ended.

    0 if this process has started none.
    """
    if not (running_server.cache_info().currsize and running_server().is_running()):
        return 0.0
    # Fields utime to cstime of proc(5): its own, and those of workers that it has waited for.
    ticks = sum(map(int, _process_fields(str(running_server().process.pid))[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_alive(pid: int) -> bool:
    """Return whether a process that is not our child runs; one that nobody waits for does not."""
    try:
        return _process_fields(pid)[0] != "Z"
    except FileNotFoundError:
        return False


def _process_fields(pid: int | str) -> list[str]:
    """Return the fields of a process in proc(5), from the third on: its state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def main() -> None:
    """Serve requests from the socket whose descriptor is the first argument."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    preload()
    gc.collect()
    gc.freeze()  # workers share these pages as long as nothing writes to them
    server = os.getpid()
    run_worker(serve(connection), server)


def preload() -> None:
    """Import what workers need."""
    for name in PRELOADED_MODULES:
        import_module(name)
    if find_spec(PRELOADED_IF_THERE):
        import_module(PRELOADED_IF_THERE)
    for name in PRELOADED_PACKAGES:
        for module in pkgutil.walk_packages(import_module(name).__path__, f"{name}."):
            import_module(module.name)


def serve(connection: socket.socket) -> Request:
    """Start workers until the parent is gone, which ends this process.

    Returns:
        In each worker: the request that started it.
    """
    workers: dict[int, int] = {}  # process id -> number
    received = b""

    def send(reply: Reply) -> None:
        with suppress(OSError):  # the parent is gone: the next read ends this process
            connection.sendall(msgspec.json.encode(reply) + b"\n")

    while True:
        while workers and (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            send(Reply(workers.pop(ended[0]), ended[0], os.waitstatus_to_exitcode(ended[1])))
        if not select.select([connection], [], [], 0.05 if workers else None)[0]:
            continue
        try:
            data = connection.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            os._exit(0)  # the workers notice, save and stop: `is_orphaned`
        *lines, received = (received + data).split(b"\n")
        for line in lines:
            request = msgspec.json.decode(line, type=Request)
            if request.argv:
                pid = os.fork()
                if pid == 0:
                    connection.close()
                    return request
                workers[pid] = request.number
                send(Reply(request.number, pid))
            else:
                for pid in (pid for pid, number in workers.items() if number == request.number):
                    os.kill(pid, signal.SIGTERM)


def run_worker(request: Request, server: int) -> None:
    """Become the process of a charlm command, as `start_worker` starts it, and run it.

    Args:
        request: Command.
        server: Process id of the server, which may have ended by now.
    """
    os.setsid()
    log = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environment, **{PARENT_PID_VARIABLE: str(server)})
    sys.path[0] = request.directory
    sys.argv = ["charlm", *request.argv]
    show_command_line([sys.executable, "-m", "charlm", *request.argv])
    runpy.run_module("charlm", run_name="__main__", alter_sys=True)


def show_command_line(words: Sequence[str]) -> None:
    """Let `ps` show these words, where the arguments of the server are in memory."""
    start, end = map(int, _process_fields("self")[45:47])  # arg_start, arg_end
    text = "\0".join(words).encode()[: end - start - 1].ljust(end - start, b"\0")
    ctypes.memmove(start, text, end - start)


if __name__ == "__main__":
    main()
