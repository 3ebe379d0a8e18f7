"""Workers forked from a fork server: the server and its workers as their parent sees them.

On macOS, whose libraries do not survive a fork, workers are new processes.
"""

import atexit
import os
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
from pathlib import Path

import msgspec

from charlm.errors import CharlmError
from charlm.execution.fork_server import COMMAND_LINE_BYTES, Reply, Request, process_fields
from charlm.execution.jobs import Worker, open_log, start_worker, worker_environment

CAN_FORK = sys.platform == "linux"
KILLED = -signal.SIGKILL  # exit code of a worker whose own was lost with the server


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
            DataError: Something else than a log has its name.
        """
        open_log(log).close()  # a worker could not say that this fails
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


def _leave_server() -> None:
    """In a forked child: close its copy of the socket to the parent's server.

    Each of the two would take replies meant for the other, and wait forever for its own; and the
    server would not notice that the parent has ended.
    """
    if running_server.cache_info().currsize:
        server = running_server()
        running_server.cache_clear()
        atexit.unregister(server.close)
        server.connection.close()
        server.has_ended = True


if CAN_FORK:
    os.register_at_fork(after_in_child=_leave_server)


def worker_cpu_seconds() -> float:
    """Return the CPU seconds of the fork server, and of all workers of it that have ended.

    0 if this process has started none.
    """
    if not (running_server.cache_info().currsize and running_server().is_running()):
        return 0.0
    # Fields utime to cstime of proc(5): its own, and those of workers that it has waited for.
    ticks = sum(map(int, process_fields(str(running_server().process.pid))[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_alive(pid: int) -> bool:
    """Return whether a process that is not our child runs; one that nobody waits for does not."""
    try:
        return process_fields(pid)[0] != "Z"
    except FileNotFoundError:
        return False
