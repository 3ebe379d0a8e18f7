"""Disk errors: each operation of each command that writes fails once, or from some moment on."""

import errno
import functools
import http.server
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import charlm.data.catalog
from charlm.data.catalog import CatalogDownload, CatalogEntry, CatalogText
from charlm.probes.base import DEFAULT_PROBES
from charlm.storage.files import TEMP_NAME
from faults import processes
from faults.hazard import Hazard
from faults.kills import spread
from faults.operations import count_operations, fail, intercept
from faults.survival import digest_state

# Error, and whether all later writes fail, too.
FAULTS: tuple[tuple[int, bool], ...] = (
    (errno.EIO, False),
    (errno.ENOSPC, True),
    (errno.EDQUOT, False),
    (errno.EROFS, True),
    (errno.ENOSPC, False),
    (errno.EFBIG, True),
    (errno.EIO, True),
)
TINY_MODELS = ["--params", "700", "--seeds", "1", "--embedding-dim", "4", "--jobs", "1"]
TINY_TEXT = ["--batch-size", "2", "--seq-len", "8"]


# Files of results that hold the seconds of a command.
TIMED = {"probe": ("report.json", "report.html", *(f"{name}.json" for name in DEFAULT_PROBES))}


class Command(NamedTuple):
    """A command that writes, in a directory with a copy of the examples."""

    name: str
    words: tuple[str, ...]
    is_slow: bool = False  # left out of small samples


COMMANDS = (
    Command("train", ()),
    Command("train --resume", ("train", "--resume", "stopped")),
    Command("eval --per-char", ("eval", "run", "--per-char", "out/chars.jsonl")),
    Command("eval --per-char (page)", ("eval", "run", "--per-char", "out/chars.html")),
    Command("inspect", ("inspect", "run", "--out", "out/page.html", "--figure", "out/units.svg")),
    Command("probe", ("probe", "run", "--out", "out/probes", "--max-chars", "60", "--jobs", "1")),
    Command("compress", ("compress", "text.txt", "--run", "run", "--out", "out/file.clm")),
    Command("decompress", ("decompress", "file.clm", "--run", "run", "--out", "out/text")),
    Command("export", ("export", "run", "out/model")),
    Command("metrics --tensorboard", ("metrics", "run", "--tensorboard", "out/events")),
    Command("corpora get", ("corpora", "get", "book")),
    Command("clean", ("clean", "run", "--yes")),
    Command("report --out", ("report", "comparison", "--out", "out/report"), True),
    Command("compare-cells", ("compare-cells", "text.txt", "--out", "comparison"), True),
    Command("tasks compare", ("tasks", "compare", "copy", "--out", "tasks"), True),
)


def run(scale: float) -> Hazard:
    """Let each operation of each command fail, and run the command again without faults."""
    started, trials = processes.cpu_seconds(), 0
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name, _corpus_server() as address:
        directory = Path(name)
        bench = Bench(directory, address, with_comparisons=scale >= 0.1)
        fast = [command for command in COMMANDS if not command.is_slow]
        for command in COMMANDS if scale >= 0.1 else fast if scale >= 0.02 else fast[::2]:
            done, failed = bench.break_command(command, scale)
            trials, failures = trials + done, failures + failed
    return Hazard(
        "disk errors",
        f"each operation by which {len(COMMANDS)} commands write fails, once or from there on "
        "(EIO, ENOSPC, EDQUOT, EROFS, EFBIG in turn); then the command is given again",
        trials,
        tuple(failures),
        processes.cpu_seconds() - started,
    )


class Bench:
    """Directory with examples, of which each trial gets a copy."""

    def __init__(self, directory: Path, address: str, *, with_comparisons: bool) -> None:
        """Make a run, a stopped one, a compressed file, and perhaps comparisons."""
        self.examples, self.box = directory / "examples", directory / "box"
        self.examples.mkdir()
        processes.warm_up(directory)
        examples = self.examples
        processes.write_prose(examples / "text.txt")
        os.environ["CHARLM_CACHE"] = str(directory / "cache")
        small = [*processes.train_command(Path("run"), 3), "--keep", "state"]
        self._make(small)
        killed = processes.train_command(Path("stopped"), 3)
        self._make(killed)
        for path in (examples / "stopped" / "checkpoints").glob("step-*3"):
            shutil.rmtree(path)
        (examples / "stopped" / "report.json").unlink()
        self._make(["compress", "text.txt", "--run", "run", "--out", "file.clm"])
        if with_comparisons:
            text = ["compare-cells", "text.txt", "--cells", "gru,rnn", "--characters", "1024"]
            self._make([*text, *TINY_MODELS, *TINY_TEXT, "--no-memory", "--out", "comparison"])
            task = ["tasks", "compare", "copy", "--cells", "gru,rnn", "--lengths", "1,2"]
            self._make([*task, *TINY_MODELS, "--max-steps", "4", "--out", "tasks"])
        (examples / "out").mkdir()
        (examples / "out" / "page.html").write_text("old")
        (examples / "tmp").mkdir()
        shutil.move(directory / "cache", examples / "cache")
        self.address = address

    def _make(self, words: list[str]) -> None:
        ended = processes.run(words, self.examples)
        if ended.code:
            raise RuntimeError(f"{words}: {ended.errors}")

    def _refill(self) -> None:
        shutil.rmtree(self.box, ignore_errors=True)
        shutil.copytree(self.examples, self.box, symlinks=True)
        for path in (self.box / "cache").iterdir():  # of texts: it is written anew
            if path.is_file():
                path.unlink()
            elif path.name != "kernels":
                shutil.rmtree(path)

    def _prepare(self) -> None:
        os.environ.update(CHARLM_CACHE=str(self.box / "cache"), TMPDIR=str(self.box / "tmp"))
        tempfile.tempdir = None
        download = CatalogDownload(f"{self.address}/book.txt", 9500, (CatalogText("book.txt"),), "")
        entry = CatalogEntry("title", "licence", "source", "citation", (download,))
        charlm.data.catalog.catalog = functools.cache(lambda: {"book": entry})

    def _words(self, command: Command) -> list[str]:
        words = list(command.words)
        if command.name == "train":
            return processes.train_command(Path("new"), 2)
        if command.name == "compare-cells":
            words += [
                "--cells",
                "gru,rnn",
                "--characters",
                "1024",
                *TINY_MODELS,
                *TINY_TEXT,
                "--no-memory",
            ]
        if command.name == "tasks compare":
            words += ["--cells", "gru,rnn", "--lengths", "1,2", *TINY_MODELS, "--max-steps", "4"]
        return words

    def _words_again(self, words: list[str]) -> list[str]:
        """Return the same command, or the one that continues a run that has begun."""
        has_begun = words[0] == "train" and (self.box / "new" / "run.json").exists()
        return processes.resume_command(Path("new")) if has_begun else words

    def break_command(self, command: Command, scale: float) -> tuple[int, list[str]]:
        """Let the operations of a command fail, one after the other."""
        words, failures, trials = self._words(command), [], 0
        self._refill()
        record = self.box.parent / "faults"

        def count() -> None:
            counts: dict[str, int] = {}
            self._prepare()
            intercept(str(self.box), count_operations(counts))
            processes.at_exit(lambda: record.write_text(str(counts.get("faults", 0))))

        before = self._digest_inputs(command)
        ended = processes.run(words, self.box, count)
        if ended.code:
            return 1, [
                f"{command.name} without faults: {ended.code}, {ended.errors.strip()[-300:]}"
            ]
        outcome = digest_state(self.box / "out", TIMED.get(command.name, ()))
        for number in spread(int(record.read_text()), scale):
            code, for_good = FAULTS[number % len(FAULTS)]
            self._refill()
            trials += 1

            def prepare(number: int = number, code: int = code, good: bool = for_good) -> None:
                self._prepare()
                intercept(str(self.box), fail(number, code, for_good=good))

            ended = processes.run(words, self.box, prepare)
            problem = self._judge(command, ended, before, outcome)
            if not problem and ended.code and number % 2:
                again = processes.run(self._words_again(words), self.box, self._prepare)
                if again.code:
                    problem = f"again: {again.code}, {again.errors.strip()[-200:]}"
            if problem:
                when = "on" if for_good else "once"
                failures.append(
                    f"{command.name}: {errno.errorcode[code]} {when} at {number}: {problem}"
                )
        return trials, failures

    def _digest_inputs(self, command: Command) -> list[str]:
        written = {
            "train --resume": "stopped",
            "compare-cells": "comparison",
            "tasks compare": "tasks",
        }
        names = {"run", "stopped", "comparison", "tasks"} - {written.get(command.name, "")}
        names -= {"run"} if command.name == "clean" else set()
        return [digest_state(self.box / name) for name in sorted(names)]

    def _judge(
        self, command: Command, ended: processes.Ended, before: list[str], outcome: str
    ) -> str:
        """Return what does not hold after a fault, or an empty string."""
        if ended.code == 0:  # the fault did not matter, such as one of a cache that is optional
            found = digest_state(self.box / "out", TIMED.get(command.name, ()))
            same = found == outcome
            return "" if same else "exit 0, but with another result"
        if ended.code != 74:
            return f"exit code {ended.code}: {ended.errors.strip()[-300:]}"
        if "Traceback" in ended.errors or "charlm: cannot" not in ended.errors:
            return f"message: {ended.errors.strip()[-300:]}"
        if self._digest_inputs(command) != before:
            return "what was there before was changed"
        page = self.box / "out" / "page.html"
        if page.read_bytes() != b"old" and not page.read_bytes().rstrip().endswith(b"</html>"):
            return "an old page is neither kept nor replaced"
        left = [path for path in self.box.rglob("*") if TEMP_NAME.fullmatch(path.name)]
        left += list((self.box / "tmp").iterdir())
        return f"{left[0].relative_to(self.box)} is left" if left else ""


@contextmanager
def _corpus_server() -> Iterator[str]:
    """Serve a small text until the block ends, from a process-wide thread; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        """Server of one text."""

        def do_GET(self) -> None:
            data = b"to be or not to be\n" * 500
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
