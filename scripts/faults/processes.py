"""Processes of charlm that are forked from this one, which has imported PyTorch, and their runs."""

import hashlib
import importlib
import os
import pkgutil
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import torch

import charlm
from charlm.errors import DataError
from charlm.runs.run import Run

# Typer and PyTorch import these when they are first needed.
LIBRARIES = ["torch.utils.flop_counter", "torch.utils._device", "typer", "typer._adapters"]
LEFT_OUT = {"charlm.execution.ray_dispatcher", "charlm.__main__"}
HANGS = 600.0  # seconds after which a command hangs, however busy the machine is
TINY = ["--hidden-size", "8", "--embedding-dim", "4", "--batch-size", "2", "--seq-len", "8"]
TINY += ["--lr", "0.01", "--warmup-steps", "1", "--keep", "all"]
WORDS = ("the", "a", "cat", "dog", "sees", "hears", "old", "new", "house", "tree", "and", "or")


class Ended(NamedTuple):
    """End of a process."""

    code: int  # as of subprocess: minus the signal where one ended it
    output: str
    errors: str


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children so far."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def write_prose(path: Path, characters: int = 1500) -> Path:
    """Write a text of few words, and return its path."""
    rng = random.Random(0)
    text = " ".join(rng.choices(WORDS, k=characters // 3))[: characters - 1] + "\n"
    path.write_text(text)
    return path


def start(
    words: Sequence[object],
    directory: Path,
    prepare: Callable[[], None] = lambda: None,
) -> int:
    """Start `charlm WORDS` in a forked process, and return its number.

    Args:
        words: Command line.
        directory: Working directory; what it prints goes to the files .out and .err beside it.
        prepare: Is called in the process before the command.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    try:
        for number, suffix in ((1, ".out"), (2, ".err")):
            path = f"{directory}{suffix}"
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(directory)
        sys.argv = ["charlm", *map(str, words)]
        from charlm.__main__ import main  # noqa: PLC0415

        prepare()
        main()
    except SystemExit as error:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(error.code or 0))
    finally:
        os._exit(99)


def wait(process: int, directory: Path) -> Ended:
    """Wait for a process that `start` has started; one that hangs is killed."""
    deadline, pause = time.monotonic() + HANGS, 0.001
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
    texts = [
        Path(f"{directory}{suffix}").read_text(errors="replace") for suffix in (".out", ".err")
    ]
    return Ended(os.waitstatus_to_exitcode(status), *texts)


def run(
    words: Sequence[object],
    directory: Path,
    prepare: Callable[[], None] = lambda: None,
) -> Ended:
    """Run `charlm WORDS` in a forked process, see `start`."""
    return wait(start(words, directory, prepare), directory)


def at_exit(function: Callable[[], object]) -> None:
    """Call a function when this process ends, which charlm does by `os._exit`."""
    end = os._exit

    def end_after(code: int) -> NoReturn:
        function()
        end(code)

    os._exit = end_after  # type: ignore[assignment]


def warm_up(directory: Path) -> None:
    """Import all modules, so that forked processes start at once, and fill the cache."""
    torch.set_num_threads(1)
    for name in LIBRARIES:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(charlm.__path__, "charlm."):
        if module.name not in LEFT_OUT:
            importlib.import_module(module.name)
    write_prose(directory / "text.txt")
    train_words = train_command(directory / "warm", 1)
    ended = run(train_words, directory)
    if ended.code:
        raise RuntimeError(ended.errors)


def train_command(path: Path, steps: int, *options: object) -> list[str]:
    """Return the command that trains a tiny run on the text beside it, with a save every step."""
    text = path.parent / "text.txt"
    words = ["train", text, "--run", path, "--max-steps", steps, "--save-every", "1e-9", *TINY]
    return [str(word) for word in (*words, *options)]


def resume_command(path: Path) -> list[str]:
    """Return the command that continues a run."""
    return ["train", "--resume", str(path)]


def digest_outcome(path: Path) -> str:
    """Return a hash of all that a finished run determines: weights, state, metrics, scores."""
    run_ = Run(path)
    report = msgspec.json.decode((path / "report.json").read_bytes())
    for key in ("seconds", "cpu", "chars_per_second", "sha256"):
        report.pop(key, None)
    keeps_all = run_.record.config.keep == "all"
    step = max(run_.checkpoints) if keeps_all else report["best_step"]
    names = ["model.safetensors", *["training.safetensors"] * keeps_all]
    parts = [msgspec.json.encode(report), (path / "metrics.jsonl").read_bytes()]
    parts += [(run_.checkpoints[step] / name).read_bytes() for name in names]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def newest_step(path: Path) -> int:
    """Return the step of the newest checkpoint that verifies; 0 if there is none."""
    try:
        return Run(path).load_checkpoint("last").progress.step
    except DataError:
        return 0
