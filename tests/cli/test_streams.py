"""Tests of stdin, stdout and stderr: results, JSON, samples, pipes, hostile text."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import charlm, command, on_terminal

SMALL = ["--hidden-size", 8, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]
SMALL += ["--max-steps", 2]


def test_json_is_ascii_whatever_the_text(trained: Path) -> None:
    prompt = "a\xad\x7f\x85\u202e\U000e0041\U0001f388"
    done = charlm("sample", trained, "-p", prompt, "--length", 3, "--json")
    assert json.loads(done.stdout)["prompt"] == prompt
    assert done.stdout.isascii()


@pytest.mark.slow
def test_closed_streams_break_nothing(tmp_path: Path, book: Path) -> None:
    words = " ".join(command("train", book, *SMALL, "--run", tmp_path / "RUN"))
    for number, streams in enumerate(("<&- 2>&-", "2>&1 >/dev/null | true", ">&- 2>&-")):
        line = words.replace("RUN", str(number)) + " " + streams
        subprocess.run(["bash", "-c", line], capture_output=True, timeout=120, check=False)
        assert (tmp_path / str(number) / "report.json").exists(), streams
    closed = subprocess.run(
        ["bash", "-c", " ".join(command("train", "-", "--run", tmp_path / "c")) + " <&-"],
        capture_output=True,
        check=False,
    )
    assert closed.returncode == 66 and b"standard input" in closed.stderr


@pytest.mark.slow
def test_pipe_is_a_corpus(tmp_path: Path, book: Path) -> None:
    words = " ".join(command("train", "PIPE", *SMALL, "--run", tmp_path / "r", "--json"))
    line = words.replace("PIPE", f"<(cat {book} {book})")
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(book.read_bytes() * 2).hexdigest() in done.stdout.decode()


def test_only_results_are_on_stdout(trained: Path) -> None:
    done = charlm("eval", trained)
    assert done.returncode == 0 and done.stderr == b""
    first, *lines = done.stdout.decode().splitlines()
    assert re.fullmatch(r"\d\.\d{4} bits/char  \d\.\d{4} bits/byte  \d\.\d{4} nats/char", first)
    names = ["scored", "protocol", "corpus", "text", "weights", "kernel"]
    assert [line.split()[0] for line in lines] == names


@pytest.mark.slow
def test_json_of_eval_has_its_documented_keys(trained: Path, book: Path) -> None:
    def score(*words: object) -> dict[str, object]:
        return json.loads(charlm("eval", trained, *words, "--json").stdout)

    test = score()
    assert {
        *("bits_per_char", "bits_per_byte", "nats_per_char", "characters", "unknown_tokens"),
        *("protocol", "corpus_sha256", "block_bits", "block_lengths"),
    } <= set(test)
    assert test["characters"] == 300 and test["split"] == "test"
    assert score() == test
    report = json.loads((trained / "report.json").read_text())
    assert report["score"]["bits_per_char"] == test["bits_per_char"]
    whole = score(book)
    assert whole["characters"] == 6000 and whole["corpus_sha256"] == test["corpus_sha256"]
    assert score("--split", "valid")["text_sha256"] != test["text_sha256"]
    assert charlm("eval", trained, "--split", "half").returncode == 2
    assert charlm("eval", trained, book, "--split", "test").returncode == 78


@pytest.mark.slow
def test_run_can_be_sent_to_another_machine(
    trained: Path, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is neither the cache nor the path: the corpus is named again."""
    shutil.copytree(trained, tmp_path / "sent")
    shutil.copy(book, tmp_path / "moved.txt")
    score = charlm("eval", trained, "--json").stdout
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "new-cache"))
    words = ["eval", tmp_path / "sent", "--json", "--corpus", tmp_path / "moved.txt"]
    assert charlm(*words).stdout == score
    options = ["--length", 40, "--seed", 1]
    sample = charlm("sample", trained, *options).stdout
    assert charlm("sample", tmp_path / "sent", *options).stdout == sample


@pytest.mark.slow
def test_samples_are_exact_bytes_and_nothing_else(trained: Path) -> None:
    done = charlm("sample", trained, "--length", 200, "--seed", 4)
    assert done.returncode == 0 and done.stderr == b""
    assert len(done.stdout.decode()) == 200 and b"\n" in done.stdout
    prompt = "Thé 漢"
    done = charlm("sample", trained, "-p", prompt, "--length", 20)
    prompted = done.stdout.decode()
    assert prompted.startswith(prompt) and len(prompted) == len(prompt) + 20
    (note,) = done.stderr.decode().splitlines()
    assert note.endswith("does not know é (U+00E9), 漢 (U+6F22): it reads the unknown token")
    odd = charlm("sample", trained, "-p", "-", "-n", 20, input=b"Th\xffe")
    assert odd.stderr.endswith(b"does not know byte 0xFF: it reads the unknown token\n")
    for line_end in ("", "\n", "\r\n"):
        piped = charlm("sample", trained, "-p", "-", "-n", 20, input=(prompt + line_end).encode())
        assert piped.stdout.decode() == prompted, line_end
    lines = charlm("sample", trained, "-q", "-p", "-", "-n", 20, input=b"The\n\n")
    assert lines.stdout.decode().startswith("The\n") and lines.stderr == b""
    words = ["sample", trained, "--length", 20, "--num-samples", 2, "--json"]
    texts = [json.loads(line)["text"] for line in charlm(*words).stdout.splitlines()]
    assert len(texts) == 2 and texts[0] != texts[1] and all(len(text) == 20 for text in texts)
    assert charlm("sample", trained, "-n", 20).stdout.decode() == texts[0]


@pytest.mark.slow
def test_closed_pipe_ends_sampling_quietly(trained: Path) -> None:
    words = " ".join(command("sample", trained, "--length", 100_000))
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -c 5; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stdout[5:] == b"141\n" and done.stderr == b""
    with open("/dev/full", "wb") as full:
        failed = subprocess.run(
            command("eval", trained), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert failed.returncode == 74 and b"No space left on device" in failed.stderr


@pytest.mark.slow
def test_output_is_utf8_in_any_locale(trained: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    words = ["sample", trained, "-p", "é漢", "--length", 3]
    assert charlm(*words, env=environment).stdout == charlm(*words).stdout


@pytest.mark.slow
def test_hostile_text_is_raw_only_in_a_pipe(tmp_path: Path) -> None:
    book = tmp_path / "h\x1b[31m.txt"
    book.write_text("\x1b[31mred\u202e " * 400)
    run = tmp_path / "r"
    done = charlm("train", book, "--hidden-size", 16, "--max-steps", 60, "--lr", 0.02, "--run", run)
    assert done.returncode == 0 and b"\x1b" not in done.stderr, done.stderr
    raw = charlm("sample", run, "--length", 300).stdout
    assert b"\x1b" in raw
    shown, code = on_terminal(command("sample", run, "--length", 300))
    assert code == 0 and "\\x1b" in shown
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", shown)
    missing = charlm("train", "no\x1b[2J.txt")
    assert b"\x1b" not in missing.stderr and b"\\x1b[2J" in missing.stderr


def test_quiet_commands_print_results_and_errors_only(trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ["inspect", trained, "--text", "The \u03a9", "--out", page]
    loud, quiet = charlm(*words), charlm(*words, "--quiet")
    assert quiet.returncode == 0 and quiet.stderr == b"" and quiet.stdout == loud.stdout
    assert loud.stderr.endswith("know \u03a9 (U+03A9): it reads the unknown token\n".encode())
    finished = charlm("train", "--resume", trained, "-q")
    assert finished.stderr == b"" and b"bits/char" in finished.stdout
    failed = charlm("train", "--resume", trained, "-q", "--max-steps", 1)
    assert failed.returncode == 78 and failed.stdout == b""
    assert failed.stderr.startswith(b"charlm: cannot train ")


def test_program_is_also_a_module() -> None:
    script = Path(sys.executable).parent / "charlm"
    assert script.exists()
    version = subprocess.run([script, "--version"], capture_output=True, check=True).stdout
    assert version == charlm("--version").stdout and version.startswith(b"charlm 0.")
