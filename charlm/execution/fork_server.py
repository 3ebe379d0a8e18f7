"""Fork server: a process that has imported PyTorch, from which workers are forked.

Importing PyTorch takes seconds of CPU time, which each worker would spend again. The server only
imports: it has one thread, and neither computes nor starts CUDA, so that forking it is safe. Each
worker is a process of its own in a session of its own, as if its command had been typed.

`forked_workers` starts the server and sends it requests.
"""

import ctypes
import gc
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec

from charlm.execution.jobs import open_log
from charlm.execution.parent_process import PARENT_PID_VARIABLE
from charlm.execution.process_end import register_quick_end

# What the commands of workers import. Packages are imported with all of their modules.
PRELOADED_MODULES = ("charlm.cli.main", "charlm.reporting.terminal.progress")
# Typer imports this when it parses the first option; other versions of it have no such module.
PRELOADED_IF_THERE = "typer._adapters"
PRELOADED_PACKAGES = (
    *("charlm.cells", "charlm.kernels", "charlm.data", "charlm.models", "charlm.runs"),
    *("charlm.evaluation", "charlm.training", "charlm.probes", "charlm.tasks", "charlm.testing"),
)
COMMAND_LINE_BYTES = 4096  # reserved for the command that `ps` shows for a worker


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


def process_fields(pid: int | str) -> list[str]:
    """Return the fields of a process in proc(5), from the third on: its state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def main() -> None:
    """Serve requests from the socket whose descriptor is the first argument."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    register_quick_end()  # of the workers
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
    with open_log(Path(request.log)) as log:
        os.dup2(log.fileno(), 2)
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environment, **{PARENT_PID_VARIABLE: str(server)})
    sys.path[0] = request.directory
    sys.argv = ["charlm", *request.argv]
    show_command_line([sys.executable, "-m", "charlm", *request.argv])
    runpy.run_module("charlm", run_name="__main__", alter_sys=True)


def show_command_line(words: Sequence[str]) -> None:
    """Let `ps` show these words, where the arguments of the server are in memory."""
    start, end = map(int, process_fields("self")[45:47])  # arg_start, arg_end
    text = "\0".join(words).encode()[: end - start - 1].ljust(end - start, b"\0")
    ctypes.memmove(start, text, end - start)


if __name__ == "__main__":
    main()
