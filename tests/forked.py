"""Forked charlm processes that share imported modules, whose import takes 4 CPU seconds.

What must be seen in a fresh Python runs there: imports, signals while it imports, its environment.
"""

import io
import multiprocessing
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import charlm

# Typer, Matplotlib and PyTorch import these when they are first needed.
LIBRARIES = ["matplotlib.backends.backend_svg", "pydantic", "torch", "torch.utils.flop_counter"]
LIBRARIES += ["torch.utils._device", "typer", "typer._adapters"]
WITH_RAY = "charlm.execution.ray_dispatcher"
MODULES = [module.name for module in pkgutil.walk_packages(charlm.__path__, "charlm.")]
COMPARISONS = (["compare-cells"], ["tasks", "compare"])

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*LIBRARIES, *(name for name in MODULES if name != WITH_RAY)])

HANGS = 480.0  # seconds after which a command hangs; pytest ends the process 2 minutes later

Done = subprocess.CompletedProcess[bytes]


class Forked:
    """A process of charlm, with those methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path | None = None,
        stdin: bytes = b"",
        terminal: str = "",
        environ: Mapping[str, str] = os.environ,
        script: Path | None = None,
    ) -> None:
        """Start `charlm WORDS` in a directory, on this input or on a terminal.

        Args:
            words: Arguments.
            cwd: Working directory.
            stdin: Standard input.
            terminal: Path of a terminal, which replaces all three streams.
            environ: Environment variables.
            script: Python file that is run in place of charlm.
        """
        self.words = words
        self.directory = TemporaryDirectory()
        paths = [Path(self.directory.name) / name for name in ("stdin", "stdout", "stderr")]
        paths[0].write_bytes(stdin)
        self.streams = [Path(terminal)] * 3 if terminal else paths
        arguments = (list(words), cwd or Path.cwd(), dict(environ), self.streams, script)
        self.process = FORKS.Process(target=_run, args=arguments)
        self.process.start()
        assert self.process.pid
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = HANGS) -> tuple[bytes, bytes]:
        """Wait, and return what it wrote to stdout and stderr, if these are no terminal."""
        self.process.join(timeout)
        is_late = self.process.exitcode is None
        self.kill()
        self.process.join()
        written = [path.read_bytes() for path in self.streams[1:] if path.is_file()]
        self.directory.cleanup()
        if is_late:
            raise subprocess.TimeoutExpired(self.words, timeout)
        return written[0] if written else b"", written[-1] if written else b""


def run(words: Sequence[object], cwd: Path | None = None, stdin: bytes = b"", **more: Any) -> Done:
    """Run `charlm WORDS` in a directory, on this standard input."""
    process = Forked([str(word) for word in words], cwd, stdin, **more)
    output, errors = process.communicate()
    assert process.returncode is not None
    return Done(words, process.returncode, output, errors)


def run_script(script: Path, *words: object, cwd: Path | None = None) -> Done:
    """Run a Python file with these arguments in a directory."""
    return run(words, cwd, script=script)


def _run(
    words: list[str],
    cwd: Path,
    environ: Mapping[str, str],
    streams: list[Path],
    script: Path | None,
) -> None:
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOCTTY), number)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, mode, closefd=False), line_buffering=line_buffering)
        for number, (mode, line_buffering) in enumerate(
            (("r", False), ("w", os.isatty(1)), ("w", True))
        )
    )
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    if script or any(words[: len(comparison)] == comparison for comparison in COMPARISONS):
        _fork_server()
    sys.argv = [str(script or "charlm"), *words]
    if script:
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name="__main__")
        return

    from charlm.__main__ import main  # noqa: PLC0415

    main()


def _fork_server() -> None:
    """Fork the fork server of a comparison now, instead of starting a Python that imports."""
    from charlm.execution import fork_server, forked_workers  # noqa: PLC0415

    ours, theirs = socket.socketpair()
    process = os.fork()
    if process == 0:
        ours.close()
        _, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
        theirs.close()
        if not descriptors:  # the command ended without a server
            os._exit(0)
        os.setsid()
        for number in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        server, connection = os.getpid(), socket.socket(fileno=descriptors[0])
        fork_server.run_worker(fork_server.serve(connection), server)
    theirs.close()

    class Server:
        """The process of the server, in place of `subprocess.Popen`."""

        pid = process

        def __init__(self, *_: Any, pass_fds: Sequence[int], **__: Any) -> None:
            socket.send_fds(ours, [b"."], pass_fds)
            ours.close()

        def wait(self) -> int:
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    forked_workers.subprocess = SimpleNamespace(Popen=Server, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]
