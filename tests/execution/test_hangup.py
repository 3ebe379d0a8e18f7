"""Tests of a closed terminal: SIGHUP saves and exits with 129, in every phase of a command."""

import errno
import os
import pty
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import charlm, start_charlm, wait_until
from forked import Forked, run, run_script

from charlm.errors import EXIT_CODES, Interrupted
from charlm.execution import signals
from charlm.execution.executor import Execution, run_jobs
from charlm.execution.jobs import Job
from charlm.execution.signals import defer_signals, raise_interrupted
from charlm.progress import NoProgress
from charlm.results.jobs import JobProgress, JobState

RUN = ["--hidden-size", 8, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]
RUN += ["--max-steps", 30, "--eval-every", 10, "--kernel", "loop"]
# A program that receives signals when a function is called for the n-th time, and is charlm.
RECEIVE = """
import os, signal, sys
from importlib import import_module
from charlm.__main__ import main

place, count, numbers, sys.argv[1:] = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
module, _, name = place.rpartition(":")
owner = import_module(module)
*parents, name = name.split(".")
for parent in parents:
    owner = getattr(owner, parent)
original, calls = getattr(owner, name), [0]

def receive(*arguments, **options):
    calls[0] += 1
    if calls[0] == count:
        for number in numbers.split(","):
            os.kill(os.getpid(), int(number))
    return original(*arguments, **options)

setattr(owner, name, receive)
main()
"""
PHASES = {  # function, and which call of it
    "before any import": ("charlm.__main__:end_with_parent", 1),
    "the text is read": ("charlm.training.process:load_given_corpus", 1),
    "the run is created": ("charlm.training.process:create_run", 1),
    "before the first step": ("charlm.training.process:restore_trainer", 1),
    "a step": ("charlm.training.trainer:Trainer.start_updates", 17),
    "validation": ("charlm.training.loop:_validate", 2),
    "a file is written": ("charlm.storage.files:write_all", 5),
    "the final score": ("charlm.training.process:score_and_report", 1),
}
OFTEN_THE_SAME = {"the text is read", "the run is created", "before the first step", "validation"}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "receive.py"
    path.write_text(RECEIVE)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    assert charlm("train", book, *RUN, "--run", path).returncode == 0
    return path


def files_of(path: Path) -> list[bytes]:
    names = ("metrics.jsonl", "checkpoints/step-00000030/model.safetensors")
    return [(path / name).read_bytes() for name in names]


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param(phase, marks=pytest.mark.slow if phase in OFTEN_THE_SAME else ())
        for phase in PHASES
    ],
)
def test_hangup_saves_and_the_run_goes_on(
    phase: str, receiver: Path, whole: Path, tmp_path: Path, book: Path
) -> None:
    place, count = PHASES[phase]
    path = tmp_path / "run"
    # The kernel and the shell each send one, and the end of a session SIGTERM beside it.
    numbers = f"{signal.SIGHUP:d},{signal.SIGHUP:d}"
    done = run_script(receiver, place, count, numbers, "train", book, *RUN, "--run", path)
    assert done.returncode == 129, done.stderr
    lines = done.stderr.decode().splitlines()
    assert lines[-1].startswith("charlm: ") and "Traceback" not in done.stderr.decode()
    if not (path / "run.json").exists():
        assert charlm("train", book, *RUN, "--run", path).returncode == 0
    else:
        assert lines[-1].endswith(f"; continue with: charlm train --resume {path}")
        if phase in ("a step", "validation"):
            assert "saved after step" in lines[-1] and any((path / "checkpoints").iterdir())
        assert charlm("train", "--resume", path).returncode == 0
    assert files_of(path) == files_of(whole)


def test_session_that_ends_also_sends_sigterm(receiver: Path, tmp_path: Path, book: Path) -> None:
    """It comes beside SIGHUP, and is no second request; the two that follow it are."""
    words = ["train", book, *RUN, "--run"]
    step = PHASES["a step"]
    both = run_script(receiver, *step, "1,15", *words, tmp_path / "both")
    assert both.returncode == 129 and b"saved after step" in both.stderr
    more = run_script(receiver, *step, "15,1,15", *words, tmp_path / "more")
    assert more.returncode == 143 and b"saved after step" not in more.stderr


def test_nohup_is_respected(whole: Path, tmp_path: Path, book: Path) -> None:
    script, path = tmp_path / "nohup.py", tmp_path / "run"
    script.write_text("import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + RECEIVE)
    place, count = PHASES["a step"]
    done = run_script(script, place, count, "1,1", "train", book, *RUN, "--run", path)
    assert done.returncode == 0, done.stderr
    assert files_of(path) == files_of(whole)


@pytest.mark.parametrize("words", [["eval"], ["sample", "-n", 5], ["probe", "--max-chars", 100]])
def test_hangup_ends_other_commands(
    words: list[object], receiver: Path, whole: Path, tmp_path: Path
) -> None:
    name, *options = words
    place = "charlm.execution.device:check_device"
    out = ["--out", tmp_path / "out"] if name == "probe" else []
    done = run_script(receiver, place, 1, "1,1", name, whole, *options, *out)
    assert done.returncode == 129 and done.stdout == b"", done.stderr
    assert done.stderr.decode().splitlines()[-1] == "charlm: interrupted"


def test_hangup_with_its_terminal_gone(tmp_path: Path, book: Path) -> None:
    """Writing to the terminal fails from then on, also the bar and the last message."""
    main, side = pty.openpty()
    path, metrics = tmp_path / "run", tmp_path / "run" / "metrics.jsonl"
    words = ["train", str(book), *map(str, RUN), "--max-steps", "1000000", "--run", str(path)]
    process = Forked(words, terminal=os.ttyname(side), environ={**os.environ, "TERM": "xterm"})
    os.close(side)
    wait_until(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") > 5)
    os.close(main)
    length = metrics.stat().st_size
    wait_until(lambda: metrics.stat().st_size > length)  # it trains on, without a terminal
    process.send_signal(signal.SIGHUP)
    process.communicate()
    assert process.returncode == 129
    assert any((path / "checkpoints").glob("step-*"))


@pytest.mark.slow
def test_hangup_of_a_comparison_ends_its_workers(tmp_path: Path, book: Path) -> None:
    out = tmp_path / "out"
    words = [book, "--cells", "rnn", "--params", 3000, "--max-steps", 1_000_000, "--seeds", 1]
    words += ["--embedding-dim", 4, "--baselines", "none", "--no-memory", "--out", out]
    parent = start_charlm("compare-cells", *words)
    wait_until(lambda: parent.poll() is not None or any(out.glob("runs/*/metrics.jsonl")))
    parent.send_signal(signal.SIGHUP)
    _, errors = parent.communicate()
    assert parent.returncode == 129 and b"all is saved; run the same command" in errors, errors
    (run_path,) = out.glob("runs/*")
    assert any((run_path / "checkpoints").glob("step-*"))
    assert "(SIGTERM)" in EXIT_CODES[143].meaning and "(SIGHUP)" in EXIT_CODES[129].meaning


def test_worker_whose_parent_is_gone_stops_at_once(whole: Path) -> None:
    """It may have gone before the worker could ask the kernel to be told."""
    environ = {**os.environ, "CHARLM_PARENT": "1"}
    done = run(["sample", whole, "-n", 5], environ=environ)
    assert done.returncode == 143 and done.stdout == b"", done.stderr


def test_second_hangup_is_no_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda _: pytest.fail("left at once"))
    with defer_signals("saving") as received:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
    assert received == [signal.SIGHUP] * 3
    monkeypatch.setattr(signals, "received_signals", [])
    with pytest.raises(Interrupted):
        raise_interrupted(signal.SIGHUP, None)
    raise_interrupted(signal.SIGHUP, None)  # ignored from then on


class Endless:
    """A worker that works until it is told to stop, and the place where it runs."""

    description, has_ended = "here", False

    def capacity(self) -> int:
        return 1

    def start(self, *_: object) -> "Endless":
        return self

    def poll(self) -> int | None:
        return 143 if self.has_ended else None

    def terminate(self) -> None:
        self.has_ended = True

    def wait(self) -> int:
        assert self.has_ended
        return 143


class GoneTerminal(NoProgress):
    """A display on a terminal that is closed while it shows something."""

    @contextmanager
    def jobs(self) -> Iterator[Callable[[Sequence[JobState]], object]]:
        def show(_: object) -> None:
            signal.raise_signal(signal.SIGHUP)
            raise OSError(errno.EIO, "Input/output error")

        yield show


def test_jobs_stop_and_save_with_their_terminal_gone(tmp_path: Path) -> None:
    executor = Endless()
    job = Job("endless", tmp_path / "job", ["train"], JobProgress)
    with pytest.raises(Interrupted, match="all is saved") as raised:
        run_jobs([job], Execution(tmp_path, executor, GoneTerminal()))
    assert raised.value.signal == signal.SIGHUP and executor.has_ended
