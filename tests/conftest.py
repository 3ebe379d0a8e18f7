"""What all tests share: one thread, a cache of their own, a small text, the real command line."""

import fcntl
import os
import pty
import random
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
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
from charlm.results.run import RunRecord
from charlm.runs.run import Run

torch.set_num_threads(1)

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sees",
    "hears",
    "old",
    "new",
    "house",
    "tree",
    "and",
    "or",
    "not",
    "runs",
    "sleeps",
    "under",
    "over",
    "every",
]


def prose(characters: int, seed: int = 0) -> str:
    """Sentences of a few words: a text that a small model learns something of at once."""
    draw = random.Random(seed)
    sentences = []
    length = 0
    while length < characters:
        sentence = " ".join(draw.choices(WORDS, k=draw.randint(3, 9))).capitalize() + ".\n"
        sentences.append(sentence)
        length += len(sentence)
    return "".join(sentences)[:characters]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["CHARLM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(prose(6000))
    return path


TINY = {
    "hidden_size": 8,
    "embedding_dim": 4,
    "batch_size": 4,
    "seq_len": 16,
    "max_steps": 12,
    "warmup_steps": 2,
}


def make_run(path: Path, text: Path, **settings: object) -> tuple[Run, Corpus, Config]:
    """A run directory as `charlm train` makes it, without a first update."""
    config = validate_config({**TINY, **settings})
    corpus = load_corpus([str(text)], config)
    parameters, state_size = count_parameters_and_state(config, corpus.vocabulary.size)
    kernel, why = select_kernel(config)
    record = RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=corpus.record,
        max_steps=config.max_steps,
        kernel=kernel,
        kernel_reason=why,
        parameters=parameters,
        state_size=state_size,
        environment={},
    )
    return Run.create(path, record, corpus.vocabulary), corpus, config


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "charlm", *map(str, words)]


def charlm(*words: object, cwd: Path | None = None, input: bytes = b"", **options: object) -> Done:
    """The real command line, in a process of its own; with options of Popen, in a fresh Python."""
    if options:
        return subprocess.run(command(*words), cwd=cwd, input=input, capture_output=True, **options)  # type: ignore[call-overload]
    return forked.run([str(word) for word in words], cwd, input, timeout=300)


def on_terminal(words: list[str], columns: int = 80) -> tuple[str, int]:
    """What a command writes to a terminal of that width, stdout and stderr together."""
    main, side = pty.openpty()

    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    process = subprocess.Popen(words, stdin=side, stdout=side, stderr=side, env=env)
    os.close(side)
    data = b""
    try:
        while piece := os.read(main, 65536):
            data += piece
    except OSError:
        pass
    os.close(main)
    return data.decode(), process.wait()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    """A finished run of a small LSTM, made by the real command line."""
    path = tmp_path_factory.mktemp("runs") / "lstm"
    words = [
        "--hidden-size",
        24,
        "--embedding-dim",
        8,
        "--batch-size",
        8,
        "--seq-len",
        32,
        "--max-steps",
        60,
    ]
    done = charlm("train", book, *words, "--lr", 0.02, "--run", path, "--log-every", 0.2)
    assert done.returncode == 0, done.stderr.decode()
    return path


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if FOUND is None:
        required = os.environ.get("CHARLM_BROWSER") == "required"
        (pytest.fail if required else pytest.skip)("Chromium is not installed")
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one
