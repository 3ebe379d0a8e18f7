"""charlm cells, and cells of one's own: their code runs only where the person names it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import charlm, command, on_terminal

from charlm.cells.base import CELLS
from charlm.cells.names import CELL_NAMES
from charlm.models.catalog import cell_summary
from charlm.runs.run import Run

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
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(CODE)
    return f"{tmp_path / 'mine.py'}:Mine"


def told(*words: object) -> Any:
    done = charlm(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# charlm cells


def test_the_list_says_of_each_cell_what_it_is() -> None:
    found = told("cells")
    assert found == told("cells", "list") and found["hidden_size"] == 256
    assert [one["cell"] for one in found["cells"]] == CELL_NAMES == list(CELLS)
    lstm = next(one for one in found["cells"] if one["cell"] == "lstm")
    kernels = lstm.pop("kernels")
    assert lstm == {
        "cell": "lstm",
        "authors": "Hochreiter & Schmidhuber",
        "year": 1997,
        "states": ["h", "c"],
        "parameters": 4 * 256 * (256 + 256 + 1),
        "flops": 2 * 4 * 256 * (256 + 256),
        "linear": False,
    }
    assert {"fused", "loop"} <= set(kernels)


def test_what_is_counted_is_what_is_multiplied() -> None:
    """By hand, of one character: two for each weight of a matrix that meets it."""
    for name, weights in {
        "rnn": 2 * 64,
        "gru-cho": 6 * 64,
        "mingru": 2 * 64,
        "indrnn": 64,
        "clockwork": 64 + 36,  # 8 modules of one unit: 8 + 7 + ... + 1
        "lru": 5 * 64,
        "slstm": 4 * 64 + 4 * 8 * 2,
    }.items():
        assert cell_summary(name, 8, "cpu")["flops"] == 2 * weights, name
    assert {name for name in CELLS if cell_summary(name, 8, "cpu")["linear"]} == {
        *("lru", "matrix-lstm", "mingru", "minlstm", "qrnn", "rg-lru")
    }


def test_the_list_is_readable_in_eighty_columns_and_plain_in_a_pipe() -> None:
    shown, code = on_terminal(command("cells"))
    assert code == 0 and "\x1b" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines()), shown
    piped = charlm("cells").stdout.decode()
    for lines in (shown.splitlines(), piped.splitlines()):
        assert {line.split()[0] for line in lines} >= set(CELL_NAMES)
        assert any(
            re.match(r"lstm +Hochreiter 1997 +h c +525k +1.05M +no +.*fused", x) for x in lines
        )


@pytest.mark.parametrize("name", CELL_NAMES)
def test_show_prints_paper_equations_and_code(name: str) -> None:
    shown = charlm("cells", "show", name).stdout.decode()
    paper, _, rest = shown.partition("\n\n")
    assert re.match(r".+ \(\d{4}\), \".+\"", paper)
    assert "Parameters: " in rest.partition(".py\n")[0]
    assert f'@cell("{name}")' in rest.partition(".py\n")[2]


def test_show_runs_nothing(tmp_path: Path, mine: str) -> None:
    shown = charlm("cells", "show", mine).stdout.decode()
    assert shown.startswith('Somebody (2026), "A cell of their own".\n\nThe same: r, z and n.\n')
    assert shown.endswith(CODE) and not (tmp_path / "ran").exists()


def test_check_says_of_each_promise_whether_it_is_kept(mine: str) -> None:
    for name in ("indrnn", mine):
        done = charlm("cells", "check", name)
        assert done.returncode == 0 and done.stderr == b"", done.stderr
        lines = done.stdout.decode().splitlines()
        assert len(lines) == 16 and all(line.startswith("ok      ") for line in lines)
    broken = f"{Path(__file__).parent / 'broken_cells.py'}:MixesStreams"
    done = charlm("cells", "check", broken)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 80 and len(lines) == 16
    (line,) = [line for line in lines if not line.startswith("ok ")]
    assert re.match(
        r"broken  streams do not mix: with 5 inputs and 9 units: another .* by \d", line
    )
    assert done.stderr.endswith(b"MixesStreams breaks 1 of 16 promises: see above\n")
    done = charlm("cells", "check", broken, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 80 and found["kept"] is False
    assert [one["promise"] for one in found["promises"] if one["problem"]] == ["streams do not mix"]


# a cell of one's own


def test_a_cell_of_ones_own_trains_as_charlm_s(tmp_path: Path, book: Path, mine: str) -> None:
    """Its GRU is charlm's: only the name differs in what comes out."""
    bits = []
    for cell in ("gru", mine):
        run = tmp_path / cell.rpartition(":")[2]
        report = told("train", book, "--cell", cell, "--run", run, "--kernel", "loop", *SMALL)
        bits.append(report["score"]["bits_per_char"])
        assert report["cell"] == cell
    assert bits[0] == bits[1]
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_run_asks_for_its_cell_again_before_any_code_runs(
    tmp_path: Path, book: Path, mine: str
) -> None:
    run = tmp_path / "r"
    report = told("train", book, "--cell", mine, "--run", run, *SMALL)
    (tmp_path / "ran").unlink()
    for words in (["eval", run], ["sample", run], ["train", "--run", run, "--resume"]):
        done = charlm(*words)
        assert done.returncode == 78 and done.stdout == b"", words
        assert b"in a file whose code would run: say --cell FILE.py:Mine" in done.stderr
    assert not (tmp_path / "ran").exists()

    (tmp_path / "sent").mkdir()  # run and cell may be moved and sent
    shutil.move(tmp_path / "mine.py", tmp_path / "sent" / "other.py")
    there = f"{tmp_path / 'sent' / 'other.py'}:Mine"
    assert told("eval", run, "--cell", there)["bits_per_char"] == report["score"]["bits_per_char"]
    assert len(charlm("sample", run, "--cell", there, "--length", 9).stdout) == 9
    assert told("train", "--run", run, "--resume", "--cell", there) == report
    (tmp_path / "sent" / "ran").unlink()
    (tmp_path / "sent" / "other.py").write_text(CODE + "\n")
    for words in (["eval", run], ["sample", run], ["train", "--run", run, "--resume"]):
        done = charlm(*words, "--cell", there)
        assert done.returncode == 65 and b"other.py is not the file" in done.stderr
    assert not (tmp_path / "sent" / "ran").exists()


def test_a_stopped_run_of_it_goes_on(tmp_path: Path, book: Path, mine: str) -> None:
    words = ["--cell", mine, *SMALL[:-1], 40, "--final-eval", "none", "--eval-every", 10]
    whole = told("train", book, *words, "--run", tmp_path / "whole")
    run = tmp_path / "r"
    told("train", book, *words, "--run", run)
    (run / "report.json").unlink()  # as if it had been killed after update 30
    shutil.rmtree(max((run / "checkpoints").iterdir()))
    again = told("train", "--run", run, "--resume", "--cell", mine)
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_cell_whose_flops_are_not_what_it_says_is_trained_but_not_compared(
    tmp_path: Path, book: Path
) -> None:
    cell = f"{Path(__file__).parent / 'broken_cells.py'}:MultipliesTwice"
    small = ["--embedding-dim", 4, "--batch-size", 2, "--seq-len", 8, "--max-steps", 1]
    trained = charlm(
        "train", book, "--cell", cell, "--hidden-size", 8, *small, "--run", tmp_path / "r"
    )
    assert trained.returncode == 0, trained.stderr
    done = charlm("compare-cells", book, "--cells", f"gru,{cell}", *small, "--out", tmp_path / "o")
    assert done.returncode == 80 and b"and PyTorch counts " in done.stderr, done.stderr
    assert done.stderr.count(b"\n") == 1 and not (tmp_path / "o").exists()


def test_it_is_compared_with_others(tmp_path: Path, book: Path, mine: str) -> None:
    words = ["compare-cells", book, "--cells", f"rnn,{mine}", "--seeds", 1, "--params", 30_100]
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
    words += ["--block", "residual", "--trials", 0]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert {line.split()[0] for line in lines[2:4]} == {"rnn", "mine.Mine"}
    assert "Residual blocks, one-stream on test, 5 updates" in " ".join(lines)
    assert all(len(line) <= 80 for line in lines[-5:])
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    *_, beside = report["baselines"]
    (run,) = (Run(path) for path in tmp_path.glob("o/runs/attention-s0-*"))
    assert beside["name"] == "transformer" and abs(run.record.parameters - 30_000) <= 600
    assert beside["bits_per_char"] == run.report["score"]["bits_per_char"]
    assert {row["cell"] for row in report["rows"]} == {"rnn", "mine.Mine"}
    assert report["settings"]["block"] == "residual"
    (tmp_path / "mine.py").write_text(CODE + "# another cell now\n")
    assert charlm(*words).returncode == 0
    runs = [path.name.rpartition("-")[0] for path in (tmp_path / "o" / "runs").iterdir()]
    assert sorted(runs) == ["attention-s0", "mine.Mine-s0", "mine.Mine-s0", "rnn-s0"]


def test_options_of_the_model_are_told_before_training(tmp_path: Path, book: Path) -> None:
    words = ["train", book, *SMALL, "--block", "residual", "--forget-bias", "chrono:9"]
    done = charlm(*words, "--recurrent-init", "orthogonal", "--run", tmp_path / "r")
    assert done.returncode == 0 and b"\nblock       residual blocks\n" in done.stderr
    config = json.loads((tmp_path / "r" / "run.json").read_text())["config"]
    assert (config["block"], config["forget_bias"]) == ("residual", "chrono:9")
    assert charlm("eval", tmp_path / "r").returncode == 0
    assert len(charlm("sample", tmp_path / "r", "--length", 5).stdout) == 5
