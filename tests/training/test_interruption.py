"""Tests of the real program: killed, interrupted, and on a full disk."""

import json
import resource
import signal
import time
from pathlib import Path

import pytest
from conftest import charlm, start_charlm
from forked import Forked

from charlm.evaluation.generation import generate

STEPS = 900
SIZES = ["--hidden-size", 32, "--batch-size", 8, "--seq-len", 32, "--dropout", 0.2]
SMALL = ["--hidden-size", 8, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]


def start_or_resume(path: Path, text: Path) -> Forked:
    options = ["--log-every", 0.05]
    if (path / "run.json").exists():
        return start_charlm("train", "--resume", path, *options)
    options += [*SIZES, "--max-steps", STEPS, "--eval-every", 40, "--keep", "all"]
    return start_charlm("train", text, "--run", path, *options)


def wait_for_lines(path: Path, count: int, process: Forked) -> None:
    """Wait until the process of a run has logged this many lines."""
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, f"{path} never had {count} lines"
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_interrupted_program_ends_in_the_same_bytes(tmp_path: Path, book: Path) -> None:
    """SIGKILL, SIGTERM and SIGINT, each in the middle of the run."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = start_or_resume(whole, book)
    process.communicate()
    assert process.returncode == 0
    for number, lines in ((signal.SIGKILL, 120), (signal.SIGTERM, 240), (signal.SIGINT, 360)):
        process = start_or_resume(parts, book)
        wait_for_lines(parts / "metrics.jsonl", lines, process)
        process.send_signal(number)
        out, err = process.communicate()
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), err
        assert out == b""
        if number != signal.SIGKILL:
            assert f"continue with: charlm train --resume {parts}".encode() in err.splitlines()[-1]
    done = charlm("train", "--resume", parts)
    assert done.returncode == 0, done.stderr
    last = f"checkpoints/step-{STEPS:08}"
    for name in ("metrics.jsonl", f"{last}/model.safetensors", f"{last}/training.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    samples = [generate(path, num_chars=50) for path in (whole, parts)]
    assert samples[0] == samples[1] and len(samples[0]) == 50
    again = charlm("train", "--resume", parts, "--json")
    assert b"is finished" in again.stderr and json.loads(again.stdout)["steps"] == STEPS


@pytest.mark.slow
def test_full_disk_keeps_the_run_resumable(tmp_path: Path, book: Path) -> None:
    """A limit on the size of files stands for a full disk."""

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    first = charlm("train", book, *SMALL, "--max-steps", 1, "--run", tmp_path / "r")  # the cache
    assert first.returncode == 0, first.stderr
    path = tmp_path / "full"
    words = ["train", book, *SMALL, "--max-steps", 30, "--run", path]
    full = charlm(*words, preexec_fn=limit_file_size)
    assert full.returncode == 74, full.stderr
    last = full.stderr.decode().splitlines()[-1]
    assert (
        last.startswith("charlm: cannot write")
        and " are needed, " in last
        and "B are free there" in last
    )
    assert not list((path / "checkpoints").iterdir())
    done = charlm("train", "--resume", path)
    assert done.returncode == 0, done.stderr
