"""Tests of `charlm train`: texts, progress, interruption, memory, --dry-run."""

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import charlm, command, make_run, on_terminal, prose

from charlm.cli.main import run_command
from charlm.execution.parent_process import PARENT_PID_VARIABLE
from charlm.storage.lock import exclusive_lock
from charlm.training import session

SMALL = ["--hidden-size", 8, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]
SMALL += ["--max-steps", 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "note"),
    [
        ("bom.txt", b"\xef\xbb\xbf" + prose(3000).encode(), "byte order mark"),
        ("crlf.txt", prose(3000).replace("\n", "\r\n").encode(), "CRLF"),
        ("bytes.txt", prose(3000).encode() + b"\xff\0", "not UTF-8"),
    ],
)
def test_odd_text_is_read_unchanged_and_noted(
    tmp_path: Path, name: str, data: bytes, note: str
) -> None:
    (tmp_path / name).write_bytes(data)
    vocab = ["--vocab", "bytes"] if name == "bytes.txt" else []
    words = ["train", tmp_path / name, *SMALL, *vocab, "--run", tmp_path / "r", "--json"]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.decode().splitlines() if line.startswith("note: ")]
    assert any(str(tmp_path / name) in line and note in line for line in notes), done.stderr
    score = json.loads(done.stdout)["score"]
    assert score["corpus_sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.slow
def test_unreadable_directory_is_missing_input(tmp_path: Path) -> None:
    """Root can read everything, so it gives up that capability first."""
    secret = tmp_path / "open" / "secret"
    secret.mkdir(parents=True)
    for path in (tmp_path / "open", secret):
        (path / "x.txt").write_text(prose(3000))
    secret.chmod(0)
    words = command("train", tmp_path / "open", *SMALL, "--run", tmp_path / "r")
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root reads every directory, and setpriv is missing")
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
    done = subprocess.run(words, capture_output=True, check=False)
    secret.chmod(0o700)
    assert done.returncode == 66, done.stderr
    assert b"open" in done.stderr and b"Permission denied" in done.stderr


@pytest.mark.slow
def test_divergence_exits_76_and_keeps_the_run(tmp_path: Path, book: Path) -> None:
    words = ["train", book, *SMALL, "--max-steps", 400, "--cell", "rnn", "--run", tmp_path / "r"]
    words += ["--lr", 1000, "--grad-clip", 1e9, "--warmup-steps", 0, "--weight-decay", 10]
    done = charlm(*words, "--save-every", 1e-9)
    assert done.returncode == 76, done.stderr
    assert re.search(r"charlm: .*step \d+.*checkpoint is kept", done.stderr.decode())
    assert list((tmp_path / "r" / "checkpoints").glob("step-*"))
    reason = json.loads((tmp_path / "r" / "diverged.json").read_text())["reason"]
    assert f"charlm: {reason}" == done.stderr.decode().splitlines()[-1]
    sampled = charlm("sample", tmp_path / "r", "--length", 3, "--checkpoint", "last")
    assert sampled.returncode in (0, 76), sampled.stderr  # finite weights, but perhaps wild ones


@pytest.mark.slow
def test_memory_that_runs_out_exits_79(tmp_path: Path, book: Path) -> None:
    """By the estimate it fits, but the libraries in the process leave too little."""

    def limit_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1600 << 20, 1600 << 20))

    words = ["train", book, "--hidden-size", 4500, "--embedding-dim", 4, "--max-steps", 2]
    words += ["--recurrent-init", "default"]  # an orthogonal matrix of this size takes a minute
    words += ["--batch-size", 1, "--seq-len", 4, "--run", tmp_path / "r"]
    done = charlm(*words, preexec_fn=limit_memory)
    assert done.returncode == 79, (done.returncode, done.stderr)
    assert b"not enough memory" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.slow
def test_run_finds_its_texts_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    for name in ("book.txt", "valid.txt", "test.txt"):
        (tmp_path / "a" / name).write_text(prose(3000))
    words = ["book.txt", "--valid-file", "valid.txt", "--test-file", "test.txt"]
    words += ["--final-eval", "none"]
    done = charlm("train", *words, *SMALL, "--run", "r", cwd=tmp_path / "a")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "new-cache"))
    scored = charlm("eval", "a/r", "--json", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["characters"] == 3000


@pytest.mark.slow
def test_dry_run_prints_the_summary_and_writes_nothing(tmp_path: Path, book: Path) -> None:
    done = charlm("train", book, *SMALL, "--run", tmp_path / "r", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["record"]["max_steps"] == 2 and summary["seconds_per_step"] > 0
    assert summary["path"] == str(tmp_path / "r") and not (tmp_path / "r").exists()
    done = charlm("train", book, *SMALL, "--run", tmp_path / "r", "--dry-run")
    assert done.returncode == 0 and done.stdout == b""
    assert re.search("^estimate ", done.stderr.decode(), re.M)
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_ctrl_c_before_training_is_one_line(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("train", "-", "--run", tmp_path / "r"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(600):  # the directory of the run exists while it waits for its input
        if (tmp_path / "r" / "lock").exists():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and stderr == b"charlm: interrupted\n"


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.1, 0.3, 0.6, 1.2])
def test_signal_while_importing_is_one_line(tmp_path: Path, book: Path, delay: float) -> None:
    words = command("train", book, *SMALL, "--max-steps", 10**6, "--run", tmp_path / "r")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in (143, -signal.SIGTERM), stderr  # the latter: Python itself starts
    assert b"Traceback" not in stderr
    assert not stderr or stderr.splitlines()[-1].startswith(b"charlm: ")


@pytest.mark.slow
def test_terminal_shows_progress_within_80_columns(tmp_path: Path, book: Path) -> None:
    words = ["--hidden-size", 32, "--max-steps", 300, "--run", tmp_path / "r"]
    shown, code = on_terminal(command("train", book, *words))
    assert code == 0
    frames = [frame for frame in re.split(r"[\r\n]", shown) if "% step" in frame]
    last = frames[-1]
    for part in ("100% step 300/300 0:00 left ", "ch/s", "train ", "valid ", " bits"):
        assert part in last, last
    assert all(len(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", f).rstrip()) <= 80 for f in frames), frames


@pytest.mark.slow
def test_without_a_terminal_there_are_plain_lines(tmp_path: Path, book: Path) -> None:
    words = ["--hidden-size", 8, "--max-steps", 600, "--run", tmp_path / "r", "--log-every", 0.1]
    stderr = charlm("train", book, *words).stderr.decode()
    assert "\r" not in stderr and "\x1b" not in stderr
    lines = [line for line in stderr.splitlines() if line.startswith("step ")]
    assert lines and all("ch/s train" in line and " left " in line for line in lines)
    summary = stderr[: stderr.index("step ")]
    for name in ("cell", "kernel", "parameters", "corpus", "vocabulary", "splits", "budget"):
        assert re.search(f"^{name} ", summary, re.M), name
    for name in ("estimate", "device", "run"):
        assert re.search(f"^{name} ", summary, re.M), name


def test_only_the_main_process_of_torchrun_prints_the_report(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        done = charlm("train", "--resume", trained, "--json")
        assert done.returncode == 0, done.stderr
        assert bool(done.stdout) == bool(done.stderr) == (rank == "0"), done


def test_several_processes_need_the_name_of_the_run(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "1"), ("WORLD_SIZE", "2"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    done = charlm("train", book, *SMALL, cwd=tmp_path)
    assert done.returncode == 78 and b"Try --run DIR" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_default_directory_is_chosen_once(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories = iter([tmp_path / "first", tmp_path / "second"])
    monkeypatch.setattr(session, "default_run_dir", lambda _: next(directories))
    monkeypatch.setattr(sys, "argv", ["charlm", "train", str(book), *map(str, SMALL), "--json"])
    assert run_command() == 0
    assert (tmp_path / "first" / "report.json").exists()
    assert not (tmp_path / "second").exists()


def test_worker_of_a_comparison_has_no_overview(
    tmp_path: Path,
    book: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It would have to be measured, and nobody reads it."""
    monkeypatch.setenv(PARENT_PID_VARIABLE, str(os.getppid()))
    words = ["train", str(book), *map(str, SMALL), "--run", str(tmp_path / "r"), "--json"]
    monkeypatch.setattr(sys, "argv", ["charlm", *words])
    assert run_command() == 0
    assert "estimate" not in capsys.readouterr().err


def test_locked_run_exits_75_and_existing_one_73(tmp_path: Path, book: Path) -> None:
    path = make_run(tmp_path / "r", book)[0].path
    words = ["train", book, *SMALL, "--run", path]
    with exclusive_lock(path):
        assert charlm(*words).returncode == 75
        assert charlm("train", "--resume", path).returncode == 75
    assert charlm(*words).returncode == 73
    assert charlm("train", "--resume", tmp_path / "typo").returncode == 66
    assert not (tmp_path / "typo").exists()
