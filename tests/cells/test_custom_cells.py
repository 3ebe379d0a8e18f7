"""Tests of `charlm cells` and of custom cells, whose files run only if the user names them."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import charlm, command, on_terminal

from charlm.cells.base import CELLS
from charlm.cells.names import CELL_NAMES
from charlm.cli.main import run_command
from charlm.errors import CellCheckError
from charlm.models.catalog import cell_summary
from charlm.results.cells import CheckResult
from charlm.runs.run import Run
from charlm.testing import check

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
    6,
]
CODE = '''"""Somebody (2026), "A cell of their own"."""

from pathlib import Path

from charlm.cells.gru import GRU

Path(__file__).with_name("ran").touch()


class Mine(GRU):
    """The same: r, z and n.

    Parameters: 3H(X + H + 1) + H for X inputs and H units.
    """

    def step(self, Wx, state):
        return super().step(Wx, state)
'''


@pytest.fixture
def custom_cell(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(CODE)
    return f"{tmp_path / 'mine.py'}:Mine"


def run_json(*arguments: object) -> Any:
    done = charlm(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# charlm cells.


@pytest.mark.slow
def test_list_describes_each_cell() -> None:
    report = run_json("cells")
    assert report["hidden_size"] == 256
    assert [cell["cell"] for cell in report["cells"]] == CELL_NAMES == list(CELLS)
    lstm = next(cell for cell in report["cells"] if cell["cell"] == "lstm")
    kernels = lstm.pop("kernels")
    assert lstm == {
        "cell": "lstm",
        "authors": "Hochreiter & Schmidhuber",
        "year": 1997,
        "states": ["h", "c"],
        "parameters": 4 * 256 * (256 + 256 + 1),
        "flops": 2 * 4 * 256 * (256 + 256),
        "is_linear": False,
    }
    assert {"native", "loop"} <= set(kernels)


@pytest.mark.slow
def test_flops_are_two_per_weight_of_a_matrix() -> None:
    """Counted by hand, for one token."""
    for name, weights in {
        "rnn": 2 * 64,
        "gru-cho": 6 * 64,
        "mingru": 2 * 64,
        "indrnn": 64,
        # 8 modules of one unit read 8 inputs and 8, 7, ... 1 units, in every 1st, 2nd, 4th step.
        "clockwork": 16 + 15 / 2 + 14 / 4 + 13 / 8 + 12 / 16 + 11 / 32 + 10 / 64 + 9 / 128,
        "lru": 5 * 64,
        "slstm": 4 * 64 + 4 * 8 * 2,
    }.items():
        assert cell_summary(name, 8, "cpu").flops == int(2 * weights), name
    assert {name for name in CELLS if cell_summary(name, 8, "cpu").is_linear} == {
        *("lru", "matrix-lstm", "mingru", "minlstm", "qrnn", "rg-lru", "mamba", "mamba2", "gla"),
        *("hgrn2", "retnet", "deltanet", "gated-deltanet", "deltaproduct"),
    }


@pytest.mark.slow
def test_list_fits_80_columns_and_is_plain_in_a_pipe() -> None:
    shown, code = on_terminal(command("cells"))
    assert code == 0 and "\x1b" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines()), shown
    piped = charlm("cells", "list").stdout.decode()
    for lines in (shown.splitlines(), piped.splitlines()):
        assert {line.split()[0] for line in lines} >= set(CELL_NAMES)
        assert any(
            re.match(r"lstm +Hochreiter 1997 +h c +525k +1.05M +no +.*native", x) for x in lines
        )


@pytest.mark.parametrize("name", CELL_NAMES)
def test_show_prints_citation_equations_and_code(name: str) -> None:
    shown = charlm("cells", "show", name).stdout.decode()
    citation, _, rest = shown.partition("\n\n")
    assert re.match(r".+ \(\d{4}\), \".+\"", citation)
    assert "Parameters: " in rest.partition(".py\n")[0]
    assert f'@register_cell("{name}")' in rest.partition(".py\n")[2]


def test_show_executes_nothing(tmp_path: Path, custom_cell: str) -> None:
    shown = charlm("cells", "show", custom_cell).stdout.decode()
    assert shown.startswith('Somebody (2026), "A cell of their own".\n\nThe same: r, z and n.\n')
    assert shown.endswith("mine.py\n\n" + CODE[CODE.index("class Mine") :])
    assert not (tmp_path / "ran").exists()
    (tmp_path / "plain.py").write_text('X = 1\n\n@final\nclass A:\n    """One."""\n\n\nY = 2\n')
    shown = charlm("cells", "show", f"{tmp_path / 'plain.py'}:A").stdout.decode()
    assert shown.startswith("One.\n\n")
    assert shown.endswith('plain.py\n\n@final\nclass A:\n    """One."""\n')


def test_file_without_class_lists_its_classes(tmp_path: Path, custom_cell: str) -> None:
    file = custom_cell.removesuffix(":Mine")
    done = charlm("cells", "check", file)
    assert done.returncode == 2 and not (tmp_path / "ran").exists()
    assert done.stderr.endswith(f"it is not FILE.py:CLASS. Try {file}:Mine\n".encode())


@pytest.mark.slow
def test_check_prints_the_result_of_each_check(custom_cell: str) -> None:
    done = charlm("cells", "check", custom_cell)
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 16 and all(line.startswith("ok      ") for line in lines)
    broken = f"{Path(__file__).parents[1] / 'broken_cells.py'}:MixesStreams"
    done = charlm("cells", "check", broken)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 80 and len(lines) == 16
    (line,) = [line for line in lines if not line.startswith("ok ")]
    assert re.match(
        r"failed  streams of a batch are independent: with 5 inputs and 9 units: changing .* \d",
        line,
    )
    assert done.stderr.endswith(b"MixesStreams fails 1 of 16 checks\n")


def test_check_prints_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        CheckResult(check="a check", problem=None),
        CheckResult(check="another", problem="it is off by 1"),
    ]
    monkeypatch.setattr(check, "iter_checks", lambda _: iter(results))
    monkeypatch.setattr(sys, "argv", ["charlm", "cells", "check", "gru", "--json"])
    assert run_command() == CellCheckError.code
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is False
    assert [(one["check"], one["problem"]) for one in report["checks"]] == [
        ("a check", None),
        ("another", "it is off by 1"),
    ]


# Custom cells in other commands.


@pytest.mark.slow
def test_custom_gru_trains_as_the_built_in_one(
    tmp_path: Path, book: Path, custom_cell: str
) -> None:
    bits = []
    for cell in ("gru", custom_cell):
        run = tmp_path / cell.rpartition(":")[2]
        report = run_json("train", book, "--cell", cell, "--run", run, "--kernel", "loop", *SMALL)
        bits.append(report["score"]["bits_per_char"])
        assert report["cell"] == cell
    assert bits[0] == bits[1]
    assert not list(tmp_path.rglob("*.pyc"))


@pytest.mark.slow
def test_run_executes_no_cell_that_is_not_trusted(
    tmp_path: Path, book: Path, custom_cell: str
) -> None:
    run = tmp_path / "r"
    report = run_json("train", book, "--cell", custom_cell, "--run", run, *SMALL)
    (tmp_path / "ran").unlink()
    for words in (["eval", run], ["sample", run], ["train", "--resume", run]):
        done = charlm(*words)
        assert done.returncode == 78 and done.stdout == b"", words
        assert b"its file would be executed. Try --trust-cell FILE.py:Mine" in done.stderr
    assert not (tmp_path / "ran").exists()

    (tmp_path / "sent").mkdir()  # run and cell may be moved and sent
    shutil.move(tmp_path / "mine.py", tmp_path / "sent" / "other.py")
    moved = f"{tmp_path / 'sent' / 'other.py'}:Mine"
    assert (
        run_json("eval", run, "--trust-cell", moved)["bits_per_char"]
        == report["score"]["bits_per_char"]
    )
    assert len(charlm("sample", run, "--trust-cell", moved, "--length", 9).stdout) == 9
    assert run_json("train", "--resume", run, "--trust-cell", moved) == report
    (tmp_path / "sent" / "ran").unlink()
    (tmp_path / "sent" / "other.py").write_text(CODE + "\n")
    for words in (["eval", run], ["sample", run], ["train", "--resume", run]):
        done = charlm(*words, "--trust-cell", moved)
        assert done.returncode == 65 and b"other.py: it is not the file" in done.stderr
    assert not (tmp_path / "sent" / "ran").exists()


@pytest.mark.slow
def test_stopped_run_of_custom_cell_is_resumed(
    tmp_path: Path, book: Path, custom_cell: str
) -> None:
    words = ["--cell", custom_cell, *SMALL[:-1], 40, "--final-eval", "none", "--eval-every", 10]
    whole = run_json("train", book, *words, "--run", tmp_path / "whole")
    run = tmp_path / "r"
    run_json("train", book, *words, "--run", run)
    (run / "report.json").unlink()  # as if it had been killed after step 30
    shutil.rmtree(max((run / "checkpoints").iterdir()))
    again = run_json("train", "--resume", run, "--trust-cell", custom_cell)
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_cell_with_wrong_flops_is_trained_but_not_compared(tmp_path: Path, book: Path) -> None:
    cell = f"{Path(__file__).parents[1] / 'broken_cells.py'}:MultipliesTwice"
    small = ["--embedding-dim", 4, "--batch-size", 2, "--seq-len", 8, "--max-steps", 1]
    trained = charlm(
        "train", book, "--cell", cell, "--hidden-size", 8, *small, "--run", tmp_path / "r"
    )
    assert trained.returncode == 0, trained.stderr
    done = charlm("compare-cells", book, "--cells", f"gru,{cell}", *small, "--out", tmp_path / "o")
    assert done.returncode == 80 and b"and PyTorch counts " in done.stderr, done.stderr
    assert done.stderr.count(b"\n") == 1 and not (tmp_path / "o").exists()


@pytest.mark.slow
def test_custom_cell_is_compared_with_others(tmp_path: Path, book: Path, custom_cell: str) -> None:
    words = [
        "compare-cells",
        book,
        "--cells",
        f"rnn,{custom_cell}",
        "--seeds",
        1,
        "--params",
        30_100,
    ]
    words += [
        "--embedding-dim",
        8,
        "--batch-size",
        4,
        "--seq-len",
        16,
        "--max-steps",
        5,
        "--out",
        tmp_path / "o",
    ]
    words += ["--block", "residual", "--lr", 0.01, "--baselines", "transformer", "--no-memory"]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("──")) + 1
    rows = [line.split()[0] for line in lines[start:] if "k" in line.split(" ")[-1]]
    assert {"rnn", "mine.Mine"} <= set(rows)
    assert "Residual blocks, one-stream on test, 320 characters read" in " ".join(lines)
    assert all(len(line) <= 80 for line in lines)
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    (transformer,) = (row for row in report["rows"] if row["role"] == "transformer")
    (run,) = (Run(path) for path in tmp_path.glob("o/runs/attention-s0-*"))
    assert transformer["name"] == "transformer" and abs(run.record.parameters - 30_000) <= 600
    assert run.report and run.report.score
    assert transformer["bits_per_char"]["mean"] == run.report.score.bits_per_char
    cells = {row["name"] for row in report["rows"] if row["role"] == "cell"}
    assert cells == {"rnn", "mine.Mine"}
    assert report["settings"]["block"] == "residual"
    (tmp_path / "mine.py").write_text(CODE + "# another cell now\n")
    assert charlm(*words).returncode == 0
    runs = [path.name.rpartition("-")[0] for path in (tmp_path / "o" / "runs").iterdir()]
    assert sorted(runs) == ["attention-s0", "mine.Mine-s0", "mine.Mine-s0", "rnn-s0"]


@pytest.mark.slow
def test_model_options_are_shown_before_training(tmp_path: Path, book: Path) -> None:
    words = ["train", book, *SMALL, "--block", "residual", "--forget-bias", "chrono:9"]
    done = charlm(*words, "--recurrent-init", "orthogonal", "--run", tmp_path / "r")
    assert done.returncode == 0 and b"\nblock       residual blocks\n" in done.stderr
    config = json.loads((tmp_path / "r" / "run.json").read_text())["config"]
    assert (config["block"], config["forget_bias"]) == ("residual", "chrono:9")
    assert charlm("eval", tmp_path / "r").returncode == 0
    assert len(charlm("sample", tmp_path / "r", "--length", 5).stdout) == 5
