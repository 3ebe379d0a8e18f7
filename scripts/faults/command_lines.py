"""Odd command lines and configuration files, for every command and option of charlm."""

import gc
import os
import random
import re
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import typer  # noqa: TID251

import charlm.cli.main  # noqa: F401  (defines the commands)
from charlm.cli.app import app
from charlm.errors import EXIT_CODES
from faults import processes
from faults.hazard import Hazard
from faults.odd_values import odd_toml, odd_value

INVOCATIONS = 5000
CPU_SECONDS = 30
# No signal is sent and no pipe closed, so that these codes would be wrong; 70 is a bug.
EXPECTED = set(EXIT_CODES) - {70, 129, 130, 141, 143}
# All control characters but those of lines, of text that is not the result of a model.
RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
EXACT_OUTPUT = {"sample", "config show", "decompress", "report"}  # text as it is, into a pipe
TRAIN = ["--hidden-size", "4", "--embedding-dim", "2", "--batch-size", "1", "--seq-len", "4"]
TRAIN += ["--max-steps", "1"]
# A cheap call of each command; what is not here is called with its name alone.
CALLS = {
    "compare-cells": [
        "book.txt",
        "--dry-run",
        "--cells",
        "rnn",
        "--params",
        "1000",
        "--seeds",
        "1",
    ],
    "compress": ["book.txt", "--run", "run", "--out", "new"],
    "decompress": ["book.txt", "--run", "run", "--out", "new"],
    "train": ["book.txt", *TRAIN, "--dry-run", "--run", "new"],
    "diff": ["run", "run"],
    "eval": ["run"],
    "export": ["run", "new"],
    "inspect": ["run", "--text", "the cat", "--out", "new.html"],
    "metrics": ["run"],
    "probe": ["run", "--max-chars", "50", "--out", "new", "--dry-run"],
    "report": ["comparison"],
    "runs": ["."],
    "sample": ["run", "-n", "2"],
    "cells show": ["gru"],
    "cells bibtex": ["gru"],
    "cells check": ["missing.py:Cell"],
    "config show": ["book.txt"],
    "corpora get": ["missing"],
    "corpora verify": ["missing"],
    "reproduce": ["--list"],
    "clean": ["."],
    "tasks show": ["copy"],
    "tasks train": [
        "copy",
        "--lengths",
        "1",
        *TRAIN[:2],
        *TRAIN[4:6],
        *TRAIN[8:],
        "--run",
        "new",
    ],
    "tasks compare": ["copy", "--dry-run", "--cells", "rnn", "--params", "300", "--seeds", "1"],
    "verify": ["run"],
}
# Commands that work for seconds where nothing odd stops them: every 20th call is of any command.
EXPENSIVE = {"cells list", "doctor", "export", "eval", "diff", "inspect", "cells check"}
# Options that open a program, start a cluster, or take what time they are told to.
LEFT_OUT = {"--open", "--executor", "--ray-address", "--interactive", "--help"}
# A large value of these is a large work, and no odd one.
WORK = {"--length", "--num-samples", "--max-steps", "--characters", "--epochs", "--minutes"}
WORK |= {"--lengths", "--trials", "--seeds", "--max-chars", "--params", "--test-chars"}
TEXTS = {"text", "texts", "file", "corpus", "valid_file", "test_file", "prompt"}
PATH_NAMES = {"run", "run_a", "run_b", "runs", "out", "directory", "directories", "config", "other"}
PATH_NAMES |= TEXTS | {"resume", "init_from", "per_char", "tensorboard", "figure", "logprobs"}


class Parameter(NamedTuple):
    """A parameter of a command."""

    name: str
    spellings: tuple[str, ...]  # none of an argument
    is_flag: bool


class Command(NamedTuple):
    """A command and its parameters."""

    words: tuple[str, ...]
    parameters: tuple[Parameter, ...]


def commands() -> list[Command]:
    """Return all commands, from the parser itself."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[Command]:
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*words, name))
        if not hasattr(command, "commands"):
            parameters = [
                Parameter(p.name, (*p.opts, *p.secondary_opts), getattr(p, "is_flag", False))
                for p in command.params
            ]
            yield Command(
                words,
                tuple(
                    p._replace(spellings=tuple(s for s in p.spellings if s.startswith("-")))
                    for p in parameters
                    if not LEFT_OUT & set(p.spellings)
                ),
            )

    return list(walk(typer.main.get_command(app), ()))


def command_line(rng: random.Random, command: Command) -> list[str]:
    """Return a cheap call of a command with up to three odd parameters, now and then damaged."""
    words = list(CALLS.get(" ".join(command.words), []))
    for parameter in rng.sample(
        command.parameters, min(len(command.parameters), rng.choice((1, 1, 2, 3)))
    ):
        is_text = parameter.name in TEXTS or "file" in parameter.name
        value = odd_value(rng, parameter.name in PATH_NAMES or is_text, may_wait=is_text)
        if WORK & set(parameter.spellings) and re.fullmatch(r"[+\d_.e,٣]{4,}", value):
            value = "-1"
        if not parameter.spellings:
            place = rng.randrange(len(words) + 1)
            words[place : place + rng.randint(0, 1)] = [value]
        elif parameter.is_flag:
            words.append(rng.choice(parameter.spellings))
        elif rng.random() < 0.5:
            words += [rng.choice(parameter.spellings), value]
        else:
            words.append(f"{rng.choice(parameter.spellings)}={value}")
    if rng.random() < 0.08 and words:
        del words[rng.randrange(len(words))]
    if rng.random() < 0.08:
        words.insert(rng.randrange(len(words) + 1), odd_value(rng, is_path=False, may_wait=True))
    words = [word.replace("\0", "") for word in words]  # no system passes it on
    return [*command.words, *words]


def with_configuration(rng: random.Random, command: Command, directory: Path) -> list[str]:
    """Return a cheap call of a command with an odd configuration file."""
    (directory / "odd.toml").write_bytes(odd_toml(rng))
    others = ("missing", "directory", "link", "null")
    name = "odd.toml" if rng.random() < 0.9 else rng.choice(others)
    return [*command.words, *CALLS[" ".join(command.words)], "--config", name]


def build_sandbox(directory: Path, run: Path) -> None:
    """Make the files that odd values name."""
    directory.mkdir()
    shutil.copytree(run, directory / "run")
    processes.write_prose(directory / "book.txt", 300)
    for name in ("directory", "comparison", "locked"):
        (directory / name).mkdir()
    (directory / "empty").touch()
    (directory / "binary").write_bytes(bytes(range(256)) * 4)
    (directory / "link").symlink_to("book.txt")
    (directory / "dangling").symlink_to("nowhere")
    (directory / "circle").symlink_to("circle")
    (directory / "null").symlink_to("/dev/null")
    os.mkfifo(directory / "fifo")


def limit_process() -> None:
    """Let this process end if it hangs, and find no network."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**26, 2**26))
    signal.alarm(10 * CPU_SECONDS)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = "http://127.0.0.1:9"


def problem(words: Sequence[str], ended: processes.Ended) -> str:
    """Return what is wrong with the end of a command; empty if nothing is."""
    if ended.code not in EXPECTED:
        last = ended.errors.strip().splitlines()[-1:] or [""]
        return f"exit code {ended.code}: {last[0][:300]}"
    if "Traceback (most recent call last)" in ended.errors:
        return "a traceback"
    if ended.code and not ended.errors.strip():
        return f"exit code {ended.code} without a message"
    raw = RAW.search(ended.errors)
    if not raw and not any(" ".join(words).startswith(name) for name in EXACT_OUTPUT):
        raw = RAW.search(ended.output)
    return f"prints {raw[0]!r} raw" if raw else ""


def snapshot(directory: Path) -> list[tuple[str, int, int]]:
    """Return names, sizes and times of what lies in a directory, but in the sandbox and cache."""
    return sorted(
        (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
        for entry in os.scandir(directory)
        if not entry.name.startswith(("work", "cache"))
    )


@contextmanager
def shared_parser(parser: object) -> Iterator[None]:
    """Let forked processes share a parser, which takes longer to build than most commands."""
    build = typer.main.get_command
    typer.main.get_command = lambda _: parser  # type: ignore[assignment,return-value]
    try:
        yield
    finally:
        typer.main.get_command = build


def invocations(
    top: Path, rng: random.Random, number: int
) -> Iterator[tuple[list[str], processes.Ended, str]]:
    """Call charlm in odd ways; yield each command line, its end and what is wrong with that.

    Args:
        top: Directory with a run, whose subdirectory `work` is the working directory.
        rng: Source of choices.
        number: Number of calls.
    """
    work, known, parser = top / "work", commands(), typer.main.get_command(app)
    configured = [c for c in known if any("--config" in p.spellings for p in c.parameters)]
    gc.freeze()  # forked processes then share the pages of all these objects
    often = [c for c in known if " ".join(c.words) not in EXPENSIVE]
    for trial in range(number):
        if trial % 20 == 0:
            shutil.rmtree(work, ignore_errors=True)
            build_sandbox(work, top / "warm")
        if trial % 4 == 3:
            words = with_configuration(rng, rng.choice(configured), work)
        elif trial % 20 == 1:
            words = command_line(rng, rng.choice(known))
        else:
            words = command_line(rng, rng.choice(often))
        with shared_parser(parser):
            ended = processes.run(words, work, limit_process)
        yield words, ended, problem(words, ended)


def run(scale: float) -> Hazard:
    """Call charlm in odd ways, each in a process of its own."""
    start, failures = processes.cpu_seconds(), []
    trials = max(20, round(scale * INVOCATIONS))
    with tempfile.TemporaryDirectory(prefix="lines-") as name:
        top = Path(name)
        os.environ |= {"HOME": str(top / "home"), "COLUMNS": "80"}
        os.environ.setdefault("CHARLM_CACHE", f"{top}/cache")
        processes.warm_up(top)
        outside = snapshot(top)
        for words, _, what in invocations(top, random.Random(15), trials):
            if what:
                failures.append(f"charlm {' '.join(map(repr, words))[:600]}: {what}")
        if snapshot(top) != outside:
            failures.append(f"written outside of the working directory: {snapshot(top)}")
    return Hazard(
        name="odd command lines and configuration files",
        method="every command and option with odd values, and TOML with odd keys and values",
        trials=trials,
        failures=tuple(failures),
        seconds=processes.cpu_seconds() - start,
    )
