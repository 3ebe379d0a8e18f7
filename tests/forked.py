"""Forked charlm processes that share an imported PyTorch, whose import takes 2 s.

Nothing of charlm itself is imported before the fork: each command imports it as in a shell.
"""

import io
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

LIBRARIES = ["matplotlib.figure", "msgspec", "numpy", "rich", "safetensors.torch"]

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*LIBRARIES, "torch", "typer"])

Done = subprocess.CompletedProcess[bytes]


def run(words: list[str], cwd: Path | None, stdin: bytes, timeout: float) -> Done:
    """Run `charlm WORDS` in a directory, on this standard input."""
    with TemporaryDirectory() as directory:
        streams = [Path(directory) / name for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(stdin)
        cwd = cwd or Path.cwd()
        process = FORKS.Process(target=_run, args=(words, cwd, dict(os.environ), streams))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, timeout)
        return Done(words, process.exitcode, *(path.read_bytes() for path in streams[1:]))


def _run(words: list[str], cwd: Path, environ: Mapping[str, str], streams: list[Path]) -> None:
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, mode, closefd=False))
        for number, mode in enumerate(("r", "w", "w"))
    )
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["charlm", *words]

    from charlm.__main__ import main  # noqa: PLC0415

    main()
