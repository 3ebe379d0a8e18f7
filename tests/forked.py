"""charlm in a process of its own that has PyTorch already, whose loading takes 2 s: by a fork.

Of charlm itself nothing is loaded before: each command finds it as a shell's would.
"""

import io
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

LOADED = ["matplotlib.figure", "msgspec", "numpy", "rich", "safetensors.torch"]

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([*LOADED, "torch", "typer"])

Done = subprocess.CompletedProcess[bytes]


def run(words: list[str], cwd: Path | None, given: bytes, timeout: float) -> Done:
    """What `charlm WORDS` does there, on this standard input."""
    with TemporaryDirectory() as place:
        streams = [Path(place) / name for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(given)
        where = cwd or Path.cwd()
        process = FORKS.Process(target=_run, args=(words, where, dict(os.environ), streams))
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

    from charlm.__main__ import main  # noqa: PLC0415  as said above

    main()
