"""The command line as people and programs meet it: streams, exit codes, one line for each error."""

import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import charlm, command, on_terminal, prose

from charlm.console import escape_control_characters
from charlm.errors import EXIT_CODES, CharlmError
from charlm.execution.jobs import Job, JobProgress, JobState
from charlm.reporting.terminal.progress import JobsProgress

SMALL = [
    "--hidden-size",
    8,
    "--embedding-dim",
    4,
    "--batch-size",
    4,
    "--seq-len",
    16,
    "--max-steps",
    2,
]

Prepare = Callable[[Path], list[object]]


def written(name: str, data: bytes | str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        file = path / name
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return file

    return write


def training_on(name: str, data: bytes | str, *more: object) -> Prepare:
    return lambda path: ["train", written(name, data)(path), *SMALL, "--run", path / "r", *more]


def training(*more: object) -> Prepare:
    return training_on("book.txt", prose(3000), *more)


def damaged_run(path: Path) -> list[object]:
    done = charlm(*training()(path))
    assert done.returncode == 0, done.stderr
    for file in (path / "r" / "checkpoints").glob("*/model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    return ["eval", path / "r"]


def other_settings(path: Path) -> list[object]:
    done = charlm(*training("--final-eval", "none")(path))
    assert done.returncode == 0, done.stderr
    words = ["--resume", "--hidden-size", 9, "--batch-size", 4, "--seed", 3, "--threads", 1]
    return ["train", "--run", path / "r", *words]


def existing_run(path: Path) -> list[object]:
    (path / "r").mkdir()
    (path / "r" / "thesis.txt").write_text("my work")
    return training()(path)


CELL = """
class MyCell(CELLS["rnn"]):
    pass
"""
IMPORT = "from charlm.cell import CELLS\nfrom charlm.cells import rnn\n"


def own_cell(text: str = IMPORT + CELL, name: str = "MyCell") -> Prepare:
    """Training with a cell in a file of this text."""
    return lambda path: training("--cell", f"{written('cell.py', text)(path)}:{name}")(path)


def own_run(path: Path) -> list[object]:
    done = charlm(*own_cell()(path))
    assert done.returncode == 0, done.stderr
    return ["eval", path / "r"]


def changed_cell(path: Path) -> list[object]:
    words = own_run(path)
    (path / "cell.py").write_text(IMPORT + CELL + "# but for this\n")
    return [*words, "--cell", path / "cell.py:MyCell"]


def no_corpus_left(path: Path) -> list[object]:
    done = charlm(*training()(path))
    assert done.returncode == 0, done.stderr
    (path / "book.txt").unlink()
    shutil.rmtree(os.environ["CHARLM_CACHE"])
    return ["eval", path / "r"]


def changed_corpus(path: Path) -> list[object]:
    words = no_corpus_left(path)
    (path / "book.txt").write_text(prose(3000, seed=9))
    return words


# name: (what is done, exit code, what the one line says)
ERRORS: dict[str, tuple[Prepare, int, str]] = {
    "no such option": (training("--hiden", 3), 2, "No such option: --hiden.*--hidden-size"),
    "not a number": (
        training("--hidden-size", "many"),
        2,
        "--hidden-size.*valid integer.*See 'charlm train --help'",
    ),
    "no such command": (lambda _: ["trian"], 2, "trian.*train"),
    "resume without run": (lambda _: ["train", "--resume"], 78, "--resume needs --run DIR"),
    "empty file": (training_on("e.txt", ""), 65, "e.txt is empty"),
    "one character": (training_on("o.txt", "x"), 65, "o.txt has 1 characters: too few"),
    "shorter than a window": (training_on("s.txt", prose(70)), 65, "batch size × sequence length.*smaller --b"),
    "invalid utf-8": (training_on("i.txt", b"ab\n\xff"), 65, "i.txt is not UTF-8 at byte 3"),
    "nul": (training_on("n.txt", b"ab\0"), 65, "n.txt has a NUL on line 1.*--vocab bytes"),
    "utf-16": (training_on("u.txt", prose(99).encode("utf-16")), 65, "looks like UTF-16"),
    "false gzip": (training_on("x.gz", b"plain"), 65, "x.gz cannot be unpacked"),
    "missing file": (lambda p: ["train", p / "none.txt"], 66, "none.txt: there is no file"),
    "no run": (lambda p: ["sample", p / "none"], 66, "there is no run"),
    "not a run": (lambda p: ["eval", p], 66, "is not a run"),
    "no file matches": (lambda p: ["train", p], 66, "Try another --glob"),
    "missing text": (lambda p: training("--test-file", p / "no.txt")(p), 66, "no.txt"),
    "run exists": (existing_run, 73, "exists: continue it with --resume"),
    "run is a file": (lambda p: training("--run", written("f", "x")(p))(p), 73, "is a file"),
    "unknown cell": (training("--cell", "lsmt"), 78, "no cell is called 'lsmt'; did you mean lstm"),
    "unknown kernel": (training("--kernel", "warp"), 78, "no kernel is called 'warp'; there are "),
    "kernel for others": (
        training("--cell", "irnn", "--kernel", "fused"),
        78,
        "--kernel fused: IRNN has no fused kernel; this cell has .*loop",
    ),
    "units in multiples": (
        training("--cell", "clockwork", "--hidden-size", 12),
        78,
        "Clockwork has units in multiples of 8, not 12: try --hidden-size 16",
    ),
    "no gate that keeps": (
        training("--cell", "rnn", "--forget-bias", "chrono"),
        78,
        "RNN has no gate that keeps: leave --forget-bias out",
    ),
    "no recurrent matrix": (
        training("--cell", "qrnn", "--recurrent-init", "orthogonal"),
        78,
        "QRNN has no matrix from state to state: leave --recurrent-init out",
    ),
    "block around depth": (
        training("--cell", "depth-gated-lstm", "--block", "residual"),
        78,
        "cannot be added to what it reads. Use --block none",
    ),
    "odd keep bias": (
        training("--forget-bias", "long"),
        78,
        "--forget-bias long: a number such as",
    ),
    "cell in no file": (
        training("--cell", "none.py:C"),
        66,
        "none.py cannot be read: No such file",
    ),
    "cell in no Python": (
        training("--cell", "cell.txt:C"),
        78,
        "cell of your own is FILE.py:CLASS",
    ),
    "cell of no class": (own_cell(name="YourCell"), 78, "has no class YourCell; it has MyCell"),
    "class is no cell": (own_cell("class MyCell: pass"), 78, "MyCell is not a Cell: write"),
    "cell's file fails": (
        own_cell("x = 1\nprint(x / 0)"),
        65,
        r"cell.py cannot be loaded: ZeroDivisionError: division by zero \(line 2\)",
    ),
    "cell's file is no Python": (own_cell("class"), 65, "cannot be loaded: SyntaxError.*line 1"),
    "cell's file ends it all": (own_cell("raise SystemExit(0)"), 65, "loaded: SystemExit: 0"),
    "cell breaks its promise": (
        training("--cell", Path(__file__).parent / "broken_cells.py:SeesTheFuture"),
        80,
        "SeesTheFuture: no character sees the future, but with 5 inputs and 9 units: another char",
    ),
    "cell breaks when compared": (
        lambda p: [
            *("compare-cells", "--out", p / "o", "--cells"),
            f"rnn,{Path(__file__).parent / 'broken_cells.py'}:Raises",
        ],
        80,
        "Raises: its state is as listed .*, but with .*: RuntimeError: The size",
    ),
    "run of a cell unnamed": (
        own_run,
        78,
        r"code would run: say --cell FILE.py:MyCell \(compare-cells: --cells\) if you trust",
    ),
    "run of a cell changed": (changed_cell, 65, "is not the file that the run was made with"),
    "run of another cell": (
        lambda p: [*own_run(p), "--cell", "lstm"],
        78,
        "--cell lstm: the run's cell is .*cell.py:MyCell",
    ),
    "cells of odd width": (
        lambda _: ["cells", "--hidden-size", 12],
        78,
        "Clockwork has units in multiples of 8, not 12: try --hidden-size 16",
    ),
    "unknown cell to show": (lambda _: ["cells", "show", "lsmt"], 78, "did you mean lstm"),
    "unknown cell to check": (lambda _: ["cells", "check", "lsmt"], 78, "did you mean lstm"),
    "cells option too early": (
        lambda _: ["cells", "--json", "check", "lstm"],
        78,
        "--hidden-size and --json stand after list, show or check",
    ),
    "unknown device": (training("--device", "tpu"), 78, "one of auto, cpu, cuda"),
    "absent device": (training("--device", "cuda:9"), 78, "CUDA devices are there"),
    "no units": (training("--hidden-size", 0), 78, "--hidden-size 0: expected `int` >= 1"),
    "negative rate": (training("--lr", -1), 78, "--learning-rate -1.0: expected"),
    "rate not a number": (training("--lr", "nan"), 78, "--learning-rate nan: expected"),
    "dropout of all": (training("--dropout", 1), 78, "--dropout 1.0: expected"),
    "unknown schedule": (training("--lr-schedule", "step"), 78, "--lr-schedule step: invalid"),
    "absurd split": (
        training("--split-ratios", "100/0/0"),
        78,
        "--split-ratios 100/0/0: three positive",
    ),
    "two budgets": (training("--epochs", 2), 78, "keep one of --max-steps, --epochs"),
    "tied but unequal": (training("--tie-weights"), 78, "--tie-weights needs --embedding-dim"),
    "too large": (
        training("--hidden-size", 10**6),
        79,
        "GB and .* GB are there: make --hidden-size",
    ),
    "clip without end": (training("--grad-clip", "inf"), 78, "--grad-clip inf: expected"),
    "too many units": (training("--hidden-size", 2**31), 78, "--hidden-size .*expected `int` <="),
    "endless split": (training("--split-ratios", "1e99999999/5/5"), 78, "three positive shares"),
    "bad glob": (lambda p: ["train", p, "--glob", "/x"], 78, "--glob /x"),
    "empty valid text": (
        lambda p: training("--valid-file", written("v.txt", "")(p))(p),
        65,
        "v.txt is empty",
    ),
    "endless temperature": (
        lambda p: ["sample", p, "--temperature", "inf"],
        78,
        "--temperature and --top-p: finite",
    ),
    "resumed with other settings": (
        other_settings,
        78,
        r"these differ: --hidden-size 9 \(the run has 8\); --seed 3 \(the run has 0\)\. Leave them",
    ),
    "damaged checkpoint": (damaged_run, 65, "model.safetensors is damaged.*no other checkpoint"),
    "corpus is gone": (no_corpus_left, 66, "book.txt: there is no file"),
    "corpus has changed": (changed_corpus, 65, "is not the text of the run"),
    "no cells": (lambda _: ["compare-cells", "--cells", ","], 78, "name at least one"),
    "trials of a task": (
        lambda _: ["compare-cells", "--task", "copy", "--distance", "1", "--trials", 3],
        78,
        "--trials tunes cells on a text: leave it out, or --task",
    ),
    "rates that none tries": (
        lambda _: ["compare-cells", "--lr-range", "1e-3..1", "--trials", 0],
        78,
        "--lr-range is what trials search, and there are none: leave it out",
    ),
    "one trial": (
        lambda _: ["compare-cells", "--trials", 1],
        78,
        "--trials 1: to choose is among 2 or more",
    ),
    "no such baseline": (
        lambda _: ["compare-cells", "--cells", "gru,rnn", "--reference", "lstm"],
        78,
        "--reference lstm: one of --cells, gru, rnn",
    ),
    "a baseline on a task": (
        lambda _: ["compare-cells", "--task", "copy", "--distance", 5, "--margin", 0.1],
        78,
        "--margin judges bits of a text: leave it out, or --task",
    ),
    "too few parameters": (
        lambda p: ["compare-cells", "--params", 900, "--out", p / "o"],
        78,
        "--params 900: .* of 1 units? misses the 900 parameters by",
    ),
    "out is taken": (
        lambda p: ["compare-cells", "--out", written("x", "")(p).parent],
        73,
        "exists",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_line_with_cause_and_way_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    prepare, code, says = ERRORS[name]
    done = charlm(*prepare(tmp_path))
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert done.stdout == b"" and "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("charlm: ")]
    assert line == said.splitlines()[-1] and re.search(says, line), said
    assert not list(tmp_path.rglob("report.json")) or name in (
        *("damaged checkpoint", "corpus is gone", "corpus has changed"),
        *("resumed with other settings", "run of a cell unnamed", "run of a cell changed"),
        "run of another cell",
    )
    if name == "run exists":
        assert (tmp_path / "r" / "thesis.txt").read_text() == "my work"


def test_every_exit_code_is_documented() -> None:
    codes = {kind.code for kind in CharlmError.__subclasses__()}
    assert codes | {0, 2, 70, 130, 141, 143} == set(EXIT_CODES)
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    (listed,) = re.findall(r"\*\*Exit codes\.\*\*(.*?)\n\n", readme, re.S)
    assert set(map(int, re.findall(r"\b\d+\b", listed))) == set(EXIT_CODES)
    told = set(
        map(
            int,
            re.findall(
                r"\b\d+\b", charlm("--help").stdout.decode().split("codes:")[1].split("╭")[0]
            ),
        )
    )
    assert told == set(EXIT_CODES)


@pytest.mark.parametrize(
    ("name", "data", "note"),
    [
        ("bom.txt", b"\xef\xbb\xbf" + prose(3000).encode(), "byte order mark: kept"),
        ("crlf.txt", prose(3000).replace("\n", "\r\n").encode(), "CRLF: kept"),
        ("bytes.txt", prose(3000).encode() + b"\xff\0", "not UTF-8: the splits are cut in bytes"),
    ],
)
def test_odd_but_sound_text_is_read_as_it_is_and_noted(
    tmp_path: Path, name: str, data: bytes, note: str
) -> None:
    more = ["--vocab", "bytes"] if name == "bytes.txt" else []
    done = charlm(*training_on(name, data, "--json", *more)(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"note: {tmp_path / name}" in done.stderr.decode() and note in done.stderr.decode()

    told = json.loads(done.stdout)["score"]
    assert told["corpus_sha256"] == hashlib.sha256(data).hexdigest()


def test_an_unreadable_directory_is_missing_input(tmp_path: Path) -> None:
    """Root reads everything: so it gives up that right first."""
    (tmp_path / "open" / "secret").mkdir(parents=True)
    for path in (tmp_path / "open", tmp_path / "open" / "secret"):
        (path / "x.txt").write_text(prose(3000))
    (tmp_path / "open" / "secret").chmod(0)
    words = command("train", tmp_path / "open", *SMALL, "--run", tmp_path / "r")
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root reads every directory, and setpriv is not there to forbid it")
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
    done = subprocess.run(words, capture_output=True, check=False)
    (tmp_path / "open" / "secret").chmod(0o700)
    assert done.returncode == 66, done.stderr
    assert b"open: Permission denied" in done.stderr


def test_a_loss_that_is_not_finite_exits_76_and_keeps_the_run(tmp_path: Path) -> None:
    words = training("--lr", 1000, "--grad-clip", 1e9, "--max-steps", 400, "--cell", "rnn")(
        tmp_path
    )
    done = charlm(*words, "--warmup-steps", 0, "--weight-decay", 10, "--save-every", 1e-9)
    assert done.returncode == 76, done.stderr
    assert re.search(r"charlm: .*update \d+.*checkpoint is kept", done.stderr.decode())
    assert list((tmp_path / "r" / "checkpoints").glob("step-*"))
    sampled = charlm("sample", tmp_path / "r", "--length", 3, "--checkpoint", "last")
    assert sampled.returncode in (0, 76), sampled.stderr  # finite weights, but perhaps wild ones


def test_memory_that_runs_out_exits_79(tmp_path: Path) -> None:
    """The estimate says that it fits; the process, which has libraries in it, then finds not."""

    def tight() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1600 << 20, 1600 << 20))

    words = training("--hidden-size", 4500, "--batch-size", 1, "--seq-len", 4)(tmp_path)
    done = charlm(*words, preexec_fn=tight)
    assert done.returncode == 79, (done.returncode, done.stderr)
    assert b"there is not enough memory" in done.stderr and b"Traceback" not in done.stderr


def test_a_run_finds_its_texts_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    for name in ("book.txt", "valid.txt", "test.txt"):
        (tmp_path / "a" / name).write_text(prose(3000))
    words = [
        "book.txt",
        "--valid-file",
        "valid.txt",
        "--test-file",
        "test.txt",
        "--final-eval",
        "none",
    ]
    done = charlm("train", *words, *SMALL, "--run", "r", cwd=tmp_path / "a")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "new-cache"))
    told = charlm("eval", "a/r", "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["characters"] == 3000


# streams


def test_json_is_json_whatever_is_in_the_text(trained: Path) -> None:
    prompt = "a\xad\x7f\x85\u202e\U000e0041\U0001f388"
    done = charlm("sample", trained, "-p", prompt, "--length", 3, "--json")
    assert json.loads(done.stdout)["prompt"] == prompt
    assert done.stdout.isascii()


def test_closed_streams_and_readers_that_left_break_nothing(tmp_path: Path, book: Path) -> None:
    words = " ".join(command("train", book, *SMALL, "--run", tmp_path / "RUN"))
    for number, how in enumerate(("2>&-", "<&-", "2>&1 >/dev/null | true", ">&- 2>&-")):
        line = words.replace("RUN", str(number)) + " " + how
        subprocess.run(["bash", "-c", line], capture_output=True, timeout=120, check=False)
        assert (tmp_path / str(number) / "report.json").exists(), how
    closed = subprocess.run(
        ["bash", "-c", " ".join(command("train", "-", "--run", tmp_path / "c")) + " <&-"],
        capture_output=True,
        check=False,
    )
    assert closed.returncode == 66 and b"standard input is closed" in closed.stderr


def test_a_pipe_is_a_corpus_as_good_as_a_file(tmp_path: Path, book: Path) -> None:
    words = " ".join(command("train", "PIPE", *SMALL, "--run", tmp_path / "r", "--json"))
    line = words.replace("PIPE", f"<(cat {book} {book})")
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(book.read_bytes() * 2).hexdigest() in done.stdout.decode()


def test_results_alone_are_on_stdout(trained: Path) -> None:
    scored = charlm("eval", trained)
    assert scored.returncode == 0 and scored.stderr == b""
    first, *rest = scored.stdout.decode().splitlines()
    assert re.fullmatch(r"\d\.\d{4} bits/char  \d\.\d{4} bits/byte  \d\.\d{4} nats/char", first)
    assert [line.split()[0] for line in rest] == [
        "scored",
        "protocol",
        "corpus",
        "text",
        "weights",
        "kernel",
    ]


def test_the_json_of_eval_has_its_documented_keys(trained: Path, book: Path) -> None:
    told = json.loads(charlm("eval", trained, "--json").stdout)
    assert {
        *("bits_per_char", "bits_per_byte", "nats_per_char", "characters", "unseen"),
        *("protocol", "corpus_sha256", "block_bits", "block_lengths"),
    } <= set(told)
    assert told["characters"] == 300 and told["split_ratios"] == "test"
    again = json.loads(charlm("eval", trained, "--json").stdout)
    assert again == told
    report = json.loads((trained / "report.json").read_text())
    assert report["score"]["bits_per_char"] == told["bits_per_char"]
    whole = json.loads(charlm("eval", trained, "--text", book, "--json").stdout)
    assert whole["characters"] == 6000 and whole["corpus_sha256"] == told["corpus_sha256"]
    valid = json.loads(charlm("eval", trained, "--split", "valid", "--json").stdout)
    assert valid["text_sha256"] != told["text_sha256"]
    assert charlm("eval", trained, "--split", "half").returncode == 78
    assert charlm("eval", trained, "--split", "test", "--text", book).returncode == 78


def test_a_run_can_be_moved_and_sent(
    trained: Path, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine there is neither the cache nor the path: the corpus is named again."""
    shutil.copytree(trained, tmp_path / "sent")
    shutil.copy(book, tmp_path / "here.txt")
    told = charlm("eval", trained, "--json").stdout
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "new-cache"))
    words = ["eval", tmp_path / "sent", "--json", "--corpus", tmp_path / "here.txt"]
    assert charlm(*words).stdout == told
    sample = ["--length", 40, "--seed", 1]
    assert charlm("sample", trained, *sample).stdout == (
        charlm("sample", tmp_path / "sent", *sample).stdout
    )


def test_samples_are_exact_bytes_and_nothing_else(trained: Path) -> None:
    done = charlm("sample", trained, "--length", 200, "--seed", 4)
    assert done.returncode == 0 and done.stderr == b""
    assert len(done.stdout.decode()) == 200 and b"\n" in done.stdout
    prompt = "Thé 漢\n"
    prompted = charlm("sample", trained, "-p", prompt, "--length", 20).stdout.decode()
    assert prompted.startswith(prompt) and len(prompted) == len(prompt) + 20
    piped = charlm("sample", trained, "-p", "-", "--length", 20, input=prompt.encode())
    assert piped.stdout.decode() == prompted
    several = charlm("sample", trained, "--length", 20, "-n", 2, "--json").stdout.splitlines()
    texts = [json.loads(line)["text"] for line in several]
    assert len(texts) == 2 and texts[0] != texts[1] and all(len(text) == 20 for text in texts)
    alone = charlm("sample", trained, "--length", 20).stdout.decode()
    assert alone == texts[0]


def test_a_reader_that_has_seen_enough_ends_the_writing_quietly(trained: Path) -> None:
    words = " ".join(command("sample", trained, "--length", 100_000))
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -c 5; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stdout[5:] == b"141\n" and done.stderr == b""
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            command("eval", trained), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 74 and b"No space left on device" in ended.stderr


def test_output_is_utf8_whatever_the_locale(trained: Path) -> None:
    bare = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    words = ["sample", trained, "-p", "é漢", "--length", 3]
    assert charlm(*words, env=bare).stdout == charlm(*words).stdout


def test_ctrl_c_before_training_is_one_line_too(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("train", "-", "--run", tmp_path / "r"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(600):  # until it waits for its input: the run's directory is there by then
        if (tmp_path / "r" / "lock").exists():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said == b"charlm: interrupted\n"


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.35, 0.5, 0.8, 1.2])
def test_a_signal_while_loading_is_one_line_whatever_is_being_loaded(
    tmp_path: Path, book: Path, delay: float
) -> None:
    words = command("train", book, *SMALL, "--max-steps", 10**6, "--run", tmp_path / "r")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (143, -signal.SIGTERM), said  # the latter: Python itself starts
    assert b"Traceback" not in said
    assert not said or said.splitlines()[-1].startswith(b"charlm: ")


# progress


def test_a_bar_on_a_terminal_shows_how_training_goes(tmp_path: Path, book: Path) -> None:
    words = ["--hidden-size", 32, "--max-steps", 300, "--run", tmp_path / "r"]
    shown, code = on_terminal(command("train", book, *words))
    assert code == 0
    frames = [frame for frame in re.split(r"[\r\n]", shown) if "%|" in frame]
    last = frames[-1]
    for part in ("100%|", "ch/s", "train ", "valid ", "best ", "lr ", "|g| "):
        assert part in last, last
    assert all(len(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", f).rstrip()) <= 80 for f in frames), frames


def test_off_a_terminal_there_are_plain_lines(tmp_path: Path, book: Path) -> None:
    words = ["--hidden-size", 8, "--max-steps", 600, "--run", tmp_path / "r", "--log-every", 0.1]
    done = charlm("train", book, *words)
    said = done.stderr.decode()
    assert "\r" not in said and "\x1b" not in said
    lines = [line for line in said.splitlines() if line.startswith("update ")]
    assert lines and all("ch/s train" in line and "left" in line for line in lines)
    summary = said[: said.index("update ")]
    for name in ("cell", "kernel", "parameters", "corpus", "alphabet", "splits", "budget"):
        assert re.search(f"^{name} ", summary, re.M), name
    for name in ("estimate", "device", "run"):
        assert re.search(f"^{name} ", summary, re.M), name


class Terminal(io.StringIO):
    """Keeps what is drawn on it."""

    def isatty(self) -> bool:
        return True


def test_names_of_jobs_side_by_side_are_only_ever_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell's file may be called anything."""
    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    shown = JobsProgress(1.0)
    name = "[/x]\x1b[2J[red]m.C seed 0"
    for where in ("", "[/at] 1.2"):
        job = Job(name, Path("m"), [], lambda: JobProgress())
        shown.update([JobState(job, JobProgress("", 1, 2, where), "running")])
    shown.close()
    safe = "[/x]\\x1b[2J[red]m.C seed 0"
    assert safe in drawn.getvalue() and "[/at] 1.2" in drawn.getvalue()


def test_a_terminal_has_a_bar_for_each_job_under_way_and_a_line_for_each_that_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    shown = JobsProgress(1.0)
    states = [
        JobState(
            Job(name, Path(name), [], JobProgress), JobProgress(ended, 0, 9, "1.5 bits"), status
        )
        for name, ended, status in (
            *(("old", "done", "done"), ("one", "", "running"), ("other", "", "running")),
            ("later", "", "waiting"),
        )
    ]
    shown.update(states)
    assert {*shown.tasks} == {"", "one", "other"}
    states[1].status, states[2].status, states[2].killed = "done", "waiting", 1
    states[3].status = "running"
    shown.update(states)
    shown.close()
    assert {*shown.tasks} == {"", "later"}
    lines = [line.strip() for line in drawn.getvalue().replace("\r", "\n").splitlines()]
    assert any(line.endswith("one: done 1.5 bits") for line in lines)
    assert any("other: its process was killed, and goes on" in line for line in lines)
    assert not any("old: " in line for line in lines)
    assert "2 of 4 done" in drawn.getvalue()


# hostile text


def test_foreign_text_cannot_drive_a_terminal() -> None:
    hostile = "a\x1b[31m\x9b\x07\x7f\u202e\u2066\u200b\ufeff\u2028\ud800\x00\r\U000e0041z\n\té漢"
    shown = escape_control_characters(hostile, keep="\n\t")
    assert shown.startswith("a\\x1b[31m\\x9b\\x07\\x7f\\u202e\\u2066\\u200b\\ufeff")
    assert shown.endswith("z\n\té漢") and "\\x00\\r" in shown and "\\U000e0041" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert escape_control_characters("a\nb") == "a\\nb"


def test_a_model_of_hostile_text_writes_it_raw_only_into_a_pipe(tmp_path: Path) -> None:
    book = tmp_path / "h\x1b[31m.txt"
    book.write_text("\x1b[31mred\u202e " * 400)
    run = tmp_path / "r"
    made = charlm("train", book, "--hidden-size", 16, "--max-steps", 60, "--lr", 0.02, "--run", run)
    assert made.returncode == 0 and b"\x1b" not in made.stderr, made.stderr
    raw = charlm("sample", run, "--length", 300).stdout
    assert b"\x1b" in raw
    shown, code = on_terminal(command("sample", run, "--length", 300))
    assert code == 0 and "\\x1b" in shown
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", shown)
    missing = charlm("train", "no\x1b[2J.txt")
    assert b"\x1b" not in missing.stderr and b"\\x1b[2J" in missing.stderr


def test_the_program_is_also_a_module() -> None:
    script = Path(sys.executable).parent / "charlm"
    assert script.exists()
    told = subprocess.run([script, "--version"], capture_output=True, check=True).stdout
    assert told == charlm("--version").stdout and told.startswith(b"charlm 0.")
