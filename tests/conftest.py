"""Fixtures of all tests: one thread, a temporary cache, a small text, the real command line."""

import fcntl
import os
import pty
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import forked
import pytest
import torch
from browser import FOUND, Browser, browser
from forked import Done

from charlm.config import FORMAT_VERSION, Config, validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.models.build import select_kernel
from charlm.models.cost import count_parameters_and_state
from charlm.results.run import Environment, RunRecord
from charlm.runs.creation import create_run
from charlm.runs.run import Run
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop

sys.path.append(str(Path(__file__).parent.parent / "scripts"))  # the package `faults`

torch.set_num_threads(1)
# Processes inherit it. Under nohup it is ignored, and a run whose terminal closes would go on.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

WORDS = ["the", "a", "cat", "dog", "sees", "hears", "old", "new", "house", "tree", "and", "or"]
WORDS += ["not", "runs", "sleeps", "under", "over", "every"]


def prose(characters: int, seed: int = 0) -> str:
    """Return sentences of few words, of which a small model learns something at once."""
    rng = random.Random(seed)
    sentences = []
    length = 0
    while length < characters:
        sentence = " ".join(rng.choices(WORDS, k=rng.randint(3, 9))).capitalize() + ".\n"
        sentences.append(sentence)
        length += len(sentence)
    return "".join(sentences)[:characters]


@pytest.fixture(scope="session", autouse=True)
def worker_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give each worker a cache of its own, and return where its kernels lie."""
    directory = tmp_path_factory.mktemp("cache")
    (directory / "kernels").mkdir(mode=0o700)
    os.environ["CHARLM_CACHE"] = str(directory)
    return directory / "kernels"


@pytest.fixture(autouse=True)
def shared_kernels(worker_kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Exchange compiled kernels with the other workers, by links to the same files."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"
    shared.mkdir(mode=0o700, exist_ok=True)
    _exchange_kernels(worker_kernels, shared)


def _exchange_kernels(first: Path, second: Path) -> None:
    for source, target in ((first, second), (second, first)):
        for name in {*os.listdir(source)} - {*os.listdir(target)}:
            if name.endswith(".so"):
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(source / name, target / name)


@pytest.fixture
def own_cache(
    worker_kernels: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """Give a test a cache without texts, which has the kernels that were compiled before."""
    cache = tmp_path_factory.mktemp("own-cache")
    (cache / "kernels").mkdir(mode=0o700)
    _exchange_kernels(worker_kernels, cache / "kernels")
    monkeypatch.setenv("CHARLM_CACHE", str(cache))
    yield cache
    _exchange_kernels(worker_kernels, cache / "kernels")


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(prose(6000))
    return path


ENVIRONMENT = Environment(
    charlm="0", torch="2", python="3", machine="x86_64", device="cpu", threads=1, processes=1
)
TINY = {
    "hidden_size": 8,
    "embedding_dim": 4,
    "batch_size": 4,
    "seq_len": 16,
    "max_steps": 12,
    "warmup_steps": 2,
    "learning_rate": 0.006,
    "grad_clip": 1.0,
    "recurrent_init": "default",
}


def make_run(path: Path, text: Path, **settings: object) -> tuple[Run, Corpus, Config]:
    """Create a run directory as `charlm train` does, without training a step."""
    config = validate_config({**TINY, **settings})
    corpus = load_corpus([str(text)], config)
    parameters, state_size = count_parameters_and_state(config, corpus.vocabulary.size)
    kernel, reason = select_kernel(config)
    record = RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=corpus.record,
        max_steps=config.max_steps,
        kernel=kernel,
        kernel_reason=reason,
        parameters=parameters,
        state_size=state_size,
        environment=ENVIRONMENT,
    )
    return create_run(path, record, corpus.vocabulary), corpus, config


def command(*words: object) -> list[str]:
    """Return the command line of a fresh process."""
    return [sys.executable, "-m", "charlm", *map(str, words)]


def charlm(*words: object, cwd: Path | None = None, input: bytes = b"", **options: object) -> Done:
    """Run the real command line in a forked process; with options of Popen, in a fresh Python."""
    if options:
        return subprocess.run(command(*words), cwd=cwd, input=input, capture_output=True, **options)  # type: ignore[call-overload]
    return forked.run(words, cwd, input)


def start_charlm(*words: object) -> forked.Forked:
    """Start the real command line in a forked process."""
    return forked.Forked([str(word) for word in words])


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something is true, or fail after far longer than it takes."""
    deadline = time.monotonic() + forked.HANGS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def on_terminal(words: list[str], columns: int = 80, typed: bytes = b"") -> tuple[str, int]:
    """Return what a command writes to a terminal of this width, and its exit code.

    Args:
        words: Command line; that of charlm runs in a forked process.
        columns: Width.
        typed: What somebody types before the command reads it; 0x04 ends the input.
    """
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    os.write(main, typed)
    charlm_words = command()
    process: forked.Forked | subprocess.Popen[bytes]
    if words[: len(charlm_words)] == charlm_words:
        process = forked.Forked(words[len(charlm_words) :], terminal=os.ttyname(side), environ=env)
    else:
        process = subprocess.Popen(words, stdin=side, stdout=side, stderr=side, env=env)
    data = b""
    while True:
        has_ended = process.poll() is not None
        if select.select([main], [], [], 0 if has_ended else 0.02)[0]:
            data += os.read(main, 65536)
        elif has_ended:
            break
    process.communicate()
    os.close(main)
    os.close(side)
    assert process.returncode is not None
    return data.decode(), process.returncode


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    """Train a small LSTM by the real command line."""
    path = tmp_path_factory.mktemp("runs") / "lstm"
    options = ["--hidden-size", 24, "--embedding-dim", 8, "--batch-size", 8, "--seq-len", 32]
    options += ["--max-steps", 60, "--lr", 0.02, "--log-every", 0.2]
    done = charlm("train", book, *options, "--run", path)
    assert done.returncode == 0, done.stderr.decode()
    return path


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory, book: Path) -> tuple[Path, Corpus]:
    """Train a run to step 5 of 6, which has a checkpoint of each step; return it and its text."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    settings: dict[str, object] = {
        "hidden_size": 3,
        "embedding_dim": 2,
        "batch_size": 2,
        "seq_len": 4,
        "max_steps": 6,
    }
    settings |= {"eval_every": 2, "save_every": 1e-9, "initial_state": "learned"}
    run, corpus, config = make_run(path, book, **settings)
    trainer, _ = restore_trainer(run, "cpu", config)
    for _ in run_training_loop(run, trainer, corpus, stop=lambda: trainer.step == 5):
        pass
    return path, corpus


@pytest.fixture
def stopped_run(tmp_path: Path, stopped: tuple[Path, Corpus]) -> Run:
    """Return a copy of this run."""
    return Run(shutil.copytree(stopped[0], tmp_path / "run"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if FOUND is None:
        required = os.environ.get("CHARLM_BROWSER") == "required"
        (pytest.fail if required else pytest.skip)("Chromium is not installed")
    with browser(tmp_path_factory.mktemp("profile")) as instance:
        yield instance
