"""Hostile text on a terminal: every command whose names, texts, logs or errors are foreign."""

import fcntl
import os
import pty
import random
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
from collections.abc import Sequence
from pathlib import Path

import msgspec

from faults import processes
from faults.hazard import Hazard

TRIALS = 300
SINKS_PER_TEXT = 15  # of all, at random
# What a terminal obeys or a reader cannot see. What charlm's own colours and bars need is taken out
# before: SGR, cursor movement, erasure, and hiding of the cursor.
OWN = re.compile(rb"\x1b\[[0-9;]*[mKJABCDGH]|\x1b\[\?25[lh]|\r|\x07(?!.)")
RAW = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# A mark in each, by which it is found, and sequences that charlm itself never writes.
HOSTILE = (
    *(
        "\x1b]0;PWNED\x07",
        "\x1b]52;c;UFdORUQ=\x07",
        "\x1b[41mPWNED",
        "\x1bPPWNED\x1b\\",
        "\x1bcPWNED",
    ),
    *("\x9b41mPWNED", "\x9d0;PWNED\x9c", "\x85PWNED", "\x08\x08PWNED", "\x7fPWNED", "\x0cPWNED"),
    *("\u202ePWNED", "\u2066PWNED\u2069", "\u200bPWNED", "\ufeffPWNED", "\u2028PWNED"),
    *(
        "\U000e0041PWNED",
        "\xadPWNED",
        "[bold]PWNED[/]",
        "\x1b[?1049hPWNED",
        "\x1b]8;;http://PWNED\x07x",
    ),
)
OBEYED = re.compile(rb"\x1b\[41m|\x1b\][0-9]|\x1bP|\x1bc|\x1b\[\?1049")


def sinks(text: str) -> dict[str, list[str]]:
    """Return commands that show this text, by where it comes from; `build` makes their files."""
    name = text.replace("/", "_")
    return {
        "missing text": ["train", f"missing{name}.txt"],
        "missing run": ["eval", f"missing{name}"],
        "name of a text": ["train", f"text{name}.txt", "--dry-run", *TINY],
        "text of a model": ["sample", "hostile", "-n", "200", "--temperature", "3"],
        "prompt": ["sample", "run", "-p", text, "-n", "2"],
        "allowed characters": ["sample", "run", "--allow", text, "-n", "2"],
        "name of a run": ["runs", "."],
        "run of that name": ["eval", f"run{name}"],
        "summary of its continuation": ["train", "--resume", f"run{name}"],
        "clean": ["clean", "."],
        "unknown option": ["train", f"--{text}"],
        "unknown command": [text],
        "value of an option": ["train", "--batch-size", text],
        "choice": ["eval", "run", "--split", text],
        "cell": ["train", "text.txt", "--cell", text],
        "file of a cell": ["train", "text.txt", "--cell", f"cell{name}.py:Cell"],
        "exception of a cell": ["cells", "check", "cell.py:Cell"],
        "docstring of a cell": ["cells", "show", "shown.py:Cell"],
        "device": ["eval", "run", "--device", text],
        "kernel": ["eval", "run", "--kernel", text],
        "key of TOML": ["train", "--config", "key.toml"],
        "value of TOML": ["train", "--config", "value.toml"],
        "damaged TOML": ["train", "--config", "damaged.toml"],
        "settings": ["config", "show", f"text{name}.txt"],
        "characters by class": ["eval", "hostile", "--by-class"],
        "inspected text": ["inspect", "run", "--text", text, "--out", "new.html"],
        "blanked word": ["inspect", "run", "--text", f"the cat {text}", "--blank", text],
        "message of run.json": ["eval", "damaged"],
        "cell of run.json": ["eval", "odd-cell"],
        "cells of a comparison": ["compare-cells", "text.txt", "--cells", text],
        "task": ["tasks", "show", text],
        "corpus": ["corpora", "verify", text],
        "difference": ["diff", "run", "hostile"],
        "passages": ["diff", "hostile", "hostile", "--passages", "3"],
        "environment": ["eval", "run", "--corpus", f"text{name}.txt"],
        "log of a worker": ["probe", "run", f"run{name}", "--out", f"out{name}", "--dry-run"],
        "notes on a text": ["train", "notes.txt", "--dry-run", *TINY],
    }


TINY = ["--hidden-size", "4", "--embedding-dim", "2", "--batch-size", "1", "--seq-len", "4"]
TINY += ["--max-steps", "1"]
CELL = """from charlm.cells.base import Cell
class Cell(Cell):
    {docstring!r}
    def __init__(self, *arguments, **options):
        raise ValueError({text!r})
"""


def build(work: Path, text: str, run: Path) -> None:
    """Make files whose names and contents have the hostile text."""
    name = text.replace("/", "_")
    work.mkdir()
    processes.write_prose(work / "text.txt")
    prose = (work / "text.txt").read_text()
    hostile = "".join(f"{word} {text} " for word in prose.split())
    (work / f"text{name}.txt").write_text(hostile)
    (work / "notes.txt").write_text(f"{text}\n" * 400 + prose)
    shutil.copytree(run, work / "run")
    shutil.copytree(run, work / f"run{name}")
    ended = processes.run(
        ["train", f"text{name}.txt", *TINY, "--run", "hostile", "--final-eval", "none"], work
    )
    if ended.code:
        raise RuntimeError(ended.errors)
    for file in ("cell.py", f"cell{name}.py", "shown.py"):
        (work / file).write_text(CELL.format(docstring=text, text=text))
    quoted = msgspec.json.encode(text).decode()
    (work / "key.toml").write_text(f"{quoted} = 1\n")
    (work / "value.toml").write_text(f"cell = {quoted}\n")
    (work / "damaged.toml").write_bytes(b"seq_len = " + text.encode() + b"\n")
    for copy, old, new in (
        ("damaged", b'"format"', msgspec.json.encode(text)),
        ("odd-cell", b'"lstm"', msgspec.json.encode(text)),
    ):
        shutil.copytree(run, work / copy)
        record = work / copy / "run.json"
        record.write_bytes(record.read_bytes().replace(old, new))


def on_terminal(words: Sequence[str], work: Path) -> bytes:
    """Return all that a command writes to a terminal, which it has for all streams."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))

    def prepare() -> None:
        for number in range(3):
            os.dup2(side, number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120"}
        signal.alarm(300)

    os.write(main, b"n\n")  # to a question
    process = processes.start(words, work, prepare)
    os.close(side)
    data = b""
    while True:
        done, _ = os.waitpid(process, os.WNOHANG)
        try:
            while select.select([main], [], [], 0 if done else 0.01)[0]:
                part = os.read(main, 65536)
                data += part
                if not part:
                    break
        except OSError:  # nobody has the other side any more
            if not done:
                os.waitpid(process, 0)
            break
        if done:
            break
    os.close(main)
    return data


def problem(data: bytes) -> str:
    """Return what is raw in the output of a command; empty if nothing is."""
    if obeyed := OBEYED.search(data):
        return f"{obeyed[0]!r} is raw"
    shown = OWN.sub(b"", data).decode(errors="replace")
    raw = RAW.search(shown)
    return (
        f"{raw[0]!r} is raw in {shown[max(0, raw.start() - 60) : raw.end() + 20]!r}" if raw else ""
    )


def run(scale: float) -> Hazard:
    """Show hostile text on a terminal by every command that shows foreign text."""
    start, failures, trials = processes.cpu_seconds(), [], 0
    rng, number = random.Random(15), max(12, round(scale * TRIALS))
    with tempfile.TemporaryDirectory(prefix="terminals-") as name:
        top = Path(name)
        os.environ.setdefault("CHARLM_CACHE", f"{top}/cache")
        processes.warm_up(top)
        for text in rng.sample(HOSTILE, len(HOSTILE)):
            work = top / "work"
            build(work, text, top / "warm")
            commands = list(sinks(text).items())
            rng.shuffle(commands)
            for sink, words in commands[: min(SINKS_PER_TEXT, number - trials)]:
                trials += 1
                data = on_terminal(words, work)
                if not data:
                    failures.append(f"{sink}: nothing is shown")
                elif b"Traceback" in data or b"a bug in charlm" in data:
                    failures.append(f"{sink}, {text!r}: {data[-300:]!r}")
                elif what := problem(data):
                    failures.append(f"{sink}: of {text!r} {what}")
            shutil.rmtree(work)
            if trials >= number:
                break
    return Hazard(
        name="hostile text on a terminal",
        method="control, escape, bidirectional and zero-width characters in all foreign text, "
        "shown on a pseudo-terminal",
        trials=trials,
        failures=tuple(failures),
        seconds=processes.cpu_seconds() - start,
    )
