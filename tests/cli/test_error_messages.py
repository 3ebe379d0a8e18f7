"""Tests of errors on the command line: an exit code and one line with cause and remedy."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import charlm, prose

from charlm.errors import EXIT_CODES, CharlmError

SMALL = ["--hidden-size", 8, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]
SMALL += ["--max-steps", 2]
TESTS = Path(__file__).parent.parent
BROKEN = TESTS / "broken_cells.py"

Prepare = Callable[[Path], list[object]]  # writes into a directory, returns a command


def write(directory: Path, name: str, data: bytes | str) -> Path:
    file = directory / name
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def training_on(name: str, data: bytes | str, *options: object) -> Prepare:
    return lambda path: [*("train", write(path, name, data), *SMALL, "--run", path / "r", *options)]


def training(*options: object) -> Prepare:
    return training_on("book.txt", prose(3000), *options)


def training_for(*budget: object) -> Prepare:
    """Return training with another budget than the steps of the other commands."""
    return lambda p: [
        *("train", write(p, "book.txt", prose(3000)), *SMALL[:-2], "--run", p / "r", *budget)
    ]


def existing(path: Path, prepare: Prepare) -> Path:
    """Train a run and return its directory."""
    done = charlm(*prepare(path))
    assert done.returncode == 0, done.stderr
    return path / "r"


def damaged_run(path: Path) -> list[object]:
    run = existing(path, training())
    for file in (run / "checkpoints").glob("*/model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    return ["eval", run]


def other_settings(path: Path) -> list[object]:
    run = existing(path, training("--final-eval", "none"))
    options = ["--hidden-size", 9, "--batch-size", 4, "--seed", 3, "--threads", 1]
    return ["train", "--resume", run, *options]


def another_budget(*options: object, kept: tuple[object, ...] = ()) -> Prepare:
    """Return resuming a finished run with another budget."""
    return lambda path: [
        *("train", "--resume", existing(path, training("--final-eval", "none", *kept)), *options)
    ]


def starting_from(*options: object, kept: Prepare | None = None) -> Prepare:
    """Return training on another text with the weights of a finished run."""

    def prepare(path: Path) -> list[object]:
        run = existing(path, kept or training("--final-eval", "none"))
        words = ["train", write(path, "other.txt", prose(3000, seed=3)), "--init-from", run]
        return [*words, "--run", path / "new", "--max-steps", 2, *options]

    return prepare


def starting_from_damaged(path: Path) -> list[object]:
    words = starting_from()(path)
    for file in (path / "r" / "checkpoints").glob("*/model.safetensors"):
        file.write_bytes(file.read_bytes()[:-8])
    return words


def starting_from_no_run(path: Path) -> list[object]:
    return [*training()(path), "--init-from", path]


def settings_file(text: str) -> Prepare:
    return lambda path: ["train", "--config", write(path, "run.toml", text)]


def misspelt_run(command: str) -> Prepare:
    """Return a command on a run whose name is nearly that of the run `first`."""

    def prepare(path: Path) -> list[object]:
        (path / "first").mkdir()
        write(path / "first", "run.json", "{}")
        return [command, path / "frist"]

    return prepare


def misspelt_run_among_runs(path: Path) -> list[object]:
    command, missing = misspelt_run("compare-cells")(path)
    return [command, path / "first", missing]


def directory_that_is_no_run(path: Path) -> list[object]:
    (path / "r").mkdir()
    write(path / "r", "x", "")
    return ["train", write(path, "book.txt", prose(3000)), *SMALL, "--resume", path / "r"]


def run_again(path: Path) -> list[object]:
    existing(path, training("--final-eval", "none"))
    return training()(path)


def foreign_directory(path: Path) -> list[object]:
    (path / "r").mkdir()
    (path / "r" / "thesis.txt").write_text("my work")
    return training()(path)


def comparison(path: Path, report: str | None) -> Path:
    """Write a directory with the marker of a comparison, and this report."""
    (path / "c").mkdir()
    write(path / "c", "comparison.json", '{"format": 6, "kind": "text"}')
    if report is not None:
        write(path / "c", "report.json", report)
    return path / "c"


IMPORT = "from charlm.cells.base import CELLS\n"
CELL = """
class MyCell(CELLS["rnn"]):
    pass
"""


def custom_cell(text: str = IMPORT + CELL, name: str = "MyCell") -> Prepare:
    """Return training with a cell in a file of this text."""
    return lambda path: training("--cell", f"{write(path, 'cell.py', text)}:{name}")(path)


def run_of_custom_cell(path: Path) -> list[object]:
    return ["eval", existing(path, custom_cell())]


def export_of_sorting_cell(path: Path) -> list[object]:
    """Return the export of a cell with an operator that neither numpy reader nor ONNX has."""
    text = "class Sorting(CELLS['rnn']):\n    def step(self, Wx, state):\n"
    text += "        return ((Wx + self.U(state[0])).tanh().sort(-1).values,)\n"
    run = existing(path, custom_cell(IMPORT + text, "Sorting"))
    return ["export", run, path / "model", "--onnx", "--trust-cell", path / "cell.py:Sorting"]


def changed_cell(path: Path) -> list[object]:
    words = run_of_custom_cell(path)
    (path / "cell.py").write_text(IMPORT + CELL + "# but for this\n")
    return [*words, "--trust-cell", path / "cell.py:MyCell"]


def evaluating(path: Path, *words: object) -> list[object]:
    """Return the evaluation of a new run."""
    return ["eval", existing(path, training()), *words]


def diff_of_other_texts(path: Path) -> list[object]:
    existing(path, training())
    (path / "r").rename(path / "first")
    return ["diff", path / "first", existing(path, training_on("other.txt", prose(3000, 1)))]


def missing_corpus(path: Path) -> list[object]:
    run = existing(path, training())
    (path / "book.txt").unlink()
    for encoding in Path(os.environ["CHARLM_CACHE"]).glob("*.ids"):
        encoding.unlink()
    return ["eval", run]


def changed_corpus(path: Path) -> list[object]:
    words = missing_corpus(path)
    (path / "book.txt").write_text(prose(3000, seed=9))
    return words


def coding(command: str, file: str, out: str = "out") -> Prepare:
    """Return a command that compresses or decompresses a file beside a run."""

    def prepare(path: Path) -> list[object]:
        run = existing(path, training("--final-eval", "none"))
        return [command, path / file, "--run", run, "--out", path / out]

    return prepare


def altered_code(alter: Callable[[bytes], bytes]) -> Prepare:
    """Return a command that decompresses a file that was altered."""

    def prepare(path: Path) -> list[object]:
        words = coding("compress", "book.txt", "z")(path)
        assert charlm(*words).returncode == 0
        write(path, "z", alter((path / "z").read_bytes()))
        return ["decompress", path / "z", *words[2:4], "--out", path / "out"]

    return prepare


def code_of_another_model(path: Path) -> list[object]:
    command, code, *_ = altered_code(lambda data: data)(path)
    (path / "other").mkdir()
    other = existing(path / "other", training("--final-eval", "none", "--seed", 3))
    return [command, code, "--run", other, "--out", path / "out"]


# name: (command, exit code, pattern of the line)
ERRORS: dict[str, tuple[Prepare, int, str]] = {
    "no such option": (
        training("--hiden", 3),
        2,
        "no such option: --hiden.*Did you mean --hidden-size",
    ),
    "not a number": (
        training("--hidden-size", "many"),
        2,
        "--hidden-size many: it must be a whole number.*Try 'charlm train --help'",
    ),
    "no such command": (lambda _: ["trian"], 2, "trian.*train"),
    "resume without run": (lambda _: ["train", "--resume"], 2, "--resume.*requires an argument"),
    "resume of no run": (lambda p: ["train", "--resume", p / "x"], 66, "x: there is no such run"),
    "resume and run": (
        lambda p: ["train", "--resume", p, "--run", p / "y"],
        78,
        "cannot use --run and --resume together",
    ),
    "trusted cell of a new run": (
        training("--trust-cell", "cell.py:C"),
        78,
        "--trust-cell is for --resume and --init-from. Try --cell for a new run",
    ),
    "empty file": (training_on("e.txt", ""), 65, "e.txt is empty"),
    "empty standard input": (lambda _: ["train", "-", *SMALL], 65, "standard input is empty. Try"),
    "one character": (training_on("o.txt", "x"), 65, "o.txt is too short .*Try more text$"),
    "shorter than a window": (training_on("s.txt", prose(70)), 65, "batch size × .*smaller --b"),
    "invalid utf-8": (training_on("i.txt", b"ab\n\xff"), 65, "i.txt.*is not UTF-8 at byte 3"),
    "nul": (training_on("n.txt", b"ab\0"), 65, "n.txt.* NUL .*line 1.*--vocab bytes"),
    "utf-16": (training_on("u.txt", prose(99).encode("utf-16")), 65, "looks like UTF-16"),
    "false gzip": (training_on("x.gz", b"plain"), 65, "x.gz.*unpack"),
    "missing file": (
        lambda p: ["train", p / "none.txt"],
        66,
        "none.txt: there is no such file.*corpus of that name. Try",
    ),
    "no run": (lambda p: ["sample", p / "none"], 66, "there is no such run"),
    "file for a run": (
        lambda p: ["eval", TESTS / "conftest.py"],
        66,
        "conftest.py: it is a file, not a run. Try charlm eval RUN .*conftest.py",
    ),
    "missing value": (
        lambda _: ["train", "--lr"],
        2,
        "option '--lr' requires an argument. Try 'charlm train --help'",
    ),
    "synonym of an option": (training("--rnn_size", 3), 2, r"Did you mean --hidden-size\?"),
    "synonym of a command": (lambda _: ["generate"], 2, r"charlm generate. Did you mean sample\?"),
    "command of a group": (
        lambda _: ["cells", "sho"],
        2,
        "Did you mean show.*'charlm cells --help'",
    ),
    "no choice": (
        lambda _: ["compare-cells", "--match", "par"],
        2,
        r"--match par: it must be one of params, flops, state, time. Did you mean params\?",
    ),
    "negative length": (
        lambda _: ["sample", "x", "--length=-3"],
        2,
        "--length -3: it must be a whole number of at least 0",
    ),
    "missing argument": (lambda _: ["sample"], 2, "missing argument 'RUN'. Try 'charlm sample -"),
    "no command": (lambda _: ["--json"], 2, "missing command. Try 'charlm --help'"),
    "json too early": (lambda _: ["--json", "train"], 2, "--json stands after train"),
    "not a run": (lambda p: ["eval", p], 66, "is not a run"),
    "no file matches": (lambda p: ["train", p, "--glob", "*.md"], 66, "matches .*md. Try another"),
    "folder of other files": (
        lambda p: ["train", write(p, "a.png", b"\x89PNG\r\n\x1a\n").parent],
        66,
        r"it has 1 binary file\(s\) and no text. Try another folder, or --glob",
    ),
    "corpus that is not there": (
        lambda _: ["train", "tiny-shakespeare"],
        66,
        "cannot read tiny-shakespeare: it is not downloaded. "
        "Try charlm corpora get tiny-shakespeare$",
    ),
    "misspelt corpus": (lambda _: ["train", "tiny-shakespear"], 66, "Try tiny-shakespeare$"),
    "unknown corpus": (
        lambda _: ["corpora", "get", "txt8"],
        2,
        "unknown corpus 'txt8'; did you mean text8",
    ),
    "unknown corpus to verify": (lambda _: ["corpora", "verify", "no"], 2, "Try one of tiny-"),
    "corpus to verify is not there": (
        lambda _: ["corpora", "verify", "text8"],
        66,
        "text8: it is not downloaded. Try charlm corpora get text8",
    ),
    "corpus of Python": (
        lambda _: ["corpora", "get", "python-docs"],
        78,
        "it is part of Python. Try charlm train python-docs",
    ),
    "corpus without a name": (lambda _: ["corpora", "get"], 2, "NAME"),
    "corpora option too early": (lambda _: ["corpora", "--json", "get", "text8"], 78, "--json bef"),
    "corpora command": (lambda _: ["corpora", "fetch"], 2, "fetch"),
    "missing text": (lambda p: training("--test-file", p / "no.txt")(p), 66, "no.txt"),
    "directory exists": (foreign_directory, 73, "r: it exists. Try another path"),
    "run exists": (run_again, 73, "it exists. Try --resume .*r to continue the run"),
    "run is a file": (lambda p: training("--run", write(p, "f", "x"))(p), 73, "is a file"),
    "unknown cell": (training("--cell", "lsmt"), 2, "unknown cell 'lsmt'; did you mean lstm"),
    "unknown kernel": (training("--kernel", "warp"), 2, "unknown kernel 'warp'\\. Try one of "),
    "kernel for others": (
        training("--cell", "irnn", "--kernel", "native"),
        78,
        "cannot use --kernel native: .*IRNN.*loop",
    ),
    "units in multiples": (
        training("--cell", "clockwork", "--hidden-size", 12),
        78,
        "12 units: clockwork needs a multiple of 8. Try --hidden-size 16",
    ),
    "no forget gate": (
        training("--cell", "rnn", "--forget-bias", "chrono"),
        78,
        "rnn has no forget gate. Leave --forget-bias out",
    ),
    "no recurrent matrix": (
        training("--cell", "qrnn", "--recurrent-init", "orthogonal"),
        78,
        "cannot use --recurrent-init: QRNN has no hidden-to-hidden matrix",
    ),
    "block around depth": (
        training("--cell", "depth-gated-lstm", "--block", "residual"),
        78,
        "which cannot be added. Try --block none",
    ),
    "odd forget bias": (
        training("--forget-bias", "long"),
        2,
        "--forget-bias long: it must be default, a number, chrono",
    ),
    "missing file of a cell": (
        training("--cell", "none.py:C"),
        66,
        "none.py: No such file",
    ),
    "file of a cell is no Python": (
        training("--cell", "cell.txt:C"),
        2,
        "it is not FILE.py:CLASS",
    ),
    "unknown class": (
        custom_cell(name="YourCell"),
        78,
        "cannot find the class YourCell: .* defines MyCell",
    ),
    "class is no cell": (custom_cell("class MyCell: pass"), 78, "MyCell: it is not a Cell. Try"),
    "cell's file fails": (
        custom_cell("x = 1\nprint(x / 0)"),
        65,
        r"cannot load the cell .*cell.py:MyCell: ZeroDivisionError: division by zero \(line 2\)",
    ),
    "cell's file is no Python": (
        custom_cell("class"),
        65,
        "cannot load the cell .*cell.py:MyCell: SyntaxError.*line 1",
    ),
    "cell's file exits": (
        custom_cell("raise SystemExit(0)"),
        65,
        "cannot load the cell .*cell.py:MyCell: SystemExit: 0",
    ),
    "cell fails a check": (
        training("--cell", f"{BROKEN}:SeesTheFuture"),
        80,
        "SeesTheFuture.*5 inputs and 9 units",
    ),
    "compared cell fails a check": (
        lambda p: ["compare-cells", "--out", p / "o", "--cells", f"rnn,{BROKEN}:Raises"],
        80,
        "Raises.*RuntimeError: The size",
    ),
    "run of a cell not trusted": (
        run_of_custom_cell,
        78,
        r"cell.py:MyCell: its file would be executed. Try --trust-cell .*MyCell if you trust it",
    ),
    "run of a changed cell": (changed_cell, 65, "cell.py.*SHA-256"),
    "run of another cell": (
        lambda p: [*run_of_custom_cell(p), "--trust-cell", "lstm"],
        78,
        "cannot use --trust-cell lstm: the run's cell is .*cell.py:MyCell",
    ),
    "cells of odd width": (
        lambda _: ["cells", "--hidden-size", 12],
        78,
        "clockwork needs a multiple of 8. Try --hidden-size 16",
    ),
    "unknown cell to show": (lambda _: ["cells", "show", "lsmt"], 2, "did you mean lstm"),
    "unknown cell to check": (lambda _: ["cells", "check", "lsmt"], 2, "did you mean lstm"),
    "cells option too early": (
        lambda _: ["cells", "--json", "check", "lstm"],
        78,
        "--hidden-size.*--json",
    ),
    "unknown device": (training("--device", "tpu"), 78, "one of auto, cpu, cuda"),
    "absent device": (training("--device", "cuda:9"), 78, "this machine has .* CUDA devices"),
    "no units": (training("--hidden-size", 0), 2, "--hidden-size 0: .* whole number from 1 to"),
    "negative rate": (training("--lr", -1), 2, "--lr -1: it must be a number from 0 to 1,000"),
    "rate not a number": (training("--lr", "nan"), 2, "--lr nan: it must be a number"),
    "dropout of all": (training("--dropout", 1), 2, "--dropout 1: .* at least 0 and below 1"),
    "unknown schedule": (
        training("--lr-schedule", "cosin"),
        2,
        r"--lr-schedule cosin: .*mean cosine\?",
    ),
    "absurd split": (
        training("--split-ratios", "100/0/0"),
        2,
        "--split-ratios 100/0/0: .* three positive",
    ),
    "two budgets": (training("--epochs", 2), 78, "keep one of --max-steps, --epochs"),
    "less than a step": (
        training_for("--characters", 63),
        78,
        r"--characters 63: a step reads 64 \(4 streams of 16\)\. Try at least 64",
    ),
    "branches of another schedule": (
        training("--branches", "1/2", "--lr-schedule", "cosine"),
        78,
        "--branches with --lr-schedule cosine: .*Try --lr-schedule wsd",
    ),
    "branches beyond the budget": (training("--branches", "1/2,2"), 2, "Try 1/8,1/3"),
    "branches of two steps": (training("--branches", "1/8,1/3"), 78, "has only 2 steps"),
    "too few minutes": (
        training_for("--minutes", 1e-6),
        78,
        "--minutes 1e-06: start-up, .* seconds longer",
    ),
    "tied but unequal": (
        training("--tie-weights"),
        78,
        "--tie-weights: --embedding-dim .* equal",
    ),
    "too large": (training("--hidden-size", 10**6), 79, "GB.* GB .*--hidden-size"),
    "clip without end": (training("--grad-clip", "inf"), 2, "--grad-clip inf: it must be"),
    "clip of no text": (training("--grad-clip", "\udcff"), 2, r"--grad-clip \\udcff: it must"),
    "too many units": (training("--hidden-size", 2**31), 2, "--hidden-size .*from 1 to 1,048,576"),
    "endless split": (training("--split-ratios", "1e99999999/5/5"), 2, "three positive numbers"),
    "bad glob": (lambda p: ["train", p, "--glob", "/x"], 78, "--glob /x"),
    "empty valid file": (
        lambda p: training("--valid-file", write(p, "v.txt", ""))(p),
        65,
        "v.txt is empty",
    ),
    "endless temperature": (
        lambda p: ["sample", p, "--temperature", "inf"],
        2,
        "--temperature",
    ),
    "export into a folder that exists": (
        lambda p: ["export", existing(p, training()), p],
        73,
        "cannot write .*: it exists. Try another path",
    ),
    "export of a cell that is not trusted": (
        lambda p: ["export", existing(p, custom_cell()), p / "model"],
        78,
        "its file would be executed. Try --trust-cell",
    ),
    "export of a cell that is no graph": (
        export_of_sorting_cell,
        78,
        "cannot export the cell .*cell.py:Sorting: it uses sort, for which there is no rule. Try",
    ),
    "export of a damaged run": (
        lambda p: ["export", damaged_run(p)[1], p / "model"],
        65,
        "no other checkpoint is intact",
    ),
    "no character allowed": (lambda p: ["sample", p, "--allow", ""], 2, "empty --allow"),
    "reversed range allowed": (
        lambda p: ["sample", existing(p, training()), "--allow", "z-a"],
        2,
        "--allow z-a: the range is reversed. Try a-z",
    ),
    "unknown class allowed": (
        lambda p: ["sample", existing(p, training()), "--allow", "[:foo:]"],
        2,
        r"--allow \[:foo:\]: no such class",
    ),
    "units without a layer": (
        lambda p: ["inspect", p, "--units", "foo"],
        2,
        "--units foo: it is not LAYER:UNIT",
    ),
    "page into a directory": (
        lambda p: ["inspect", p, "--out", p],
        73,
        r"cannot write (.*): it is a directory\. Try --out \1/inspect\.html$",
    ),
    "sample of a file": (
        lambda p: ["sample", write(p, "f", "x")],
        66,
        "f: it is a file, not a run. Try",
    ),
    "unknown character allowed": (
        lambda p: ["sample", existing(p, training()), "--allow", "a-z#"],
        78,
        r"--allow 'a-z#': the model does not know '#' \(U\+0023\)",
    ),
    "empty stop": (lambda p: ["sample", p, "--stop", ""], 2, "empty --stop"),
    "stop that cannot come": (
        lambda p: ["sample", existing(p, training()), "--stop", "\\n"],
        78,
        r"the model does not know '\\\\'.*In bash, a line end is --stop \$'\\n'",
    ),
    "share beyond one": (
        lambda p: ["sample", p, "--min-p", 1.5],
        2,
        "--min-p 1.5: it must be a number from 0 to 1",
    ),
    "log-probabilities as text": (
        lambda p: ["sample", p, "--logprobs", 3],
        78,
        "cannot print --logprobs as text. Try --json",
    ),
    "corpus of a plain sample": (lambda p: ["sample", p, "--corpus", p], 78, "Try --novelty"),
    **{
        f"interactive and {words[0]}": (
            lambda p, words=words: ["sample", p, "--interactive", *words],  # type: ignore[misc]
            78,
            f"cannot use {option} with --interactive",
        )
        for option, *words in (
            ("--json", "--json"),
            ("--num-samples", "--num-samples", 2),
            ("--novelty", "--novelty"),
            ("--prompt -", "--prompt", "-"),
        )
    },
    "novelty of a moved text": (
        lambda p: ["sample", missing_corpus(p)[1], "--novelty", "-n", 5],
        66,
        "book.txt: there is no such file",
    ),
    "novelty against another text": (
        lambda p: ["sample", changed_corpus(p)[1], "--novelty", "-n", 5],
        65,
        "it is not the text of the run",
    ),
    "resumed with other settings": (
        other_settings,
        78,
        r"resumed run: --hidden-size 9 \(the run has 8\); --seed 3 \(the run has 0\)\. Leave them",
    ),
    "resumed with a smaller budget": (
        another_budget("--max-steps", 1),
        78,
        r"with a budget of 1 steps: it has 2, and a budget can only be raised. Try a larger",
    ),
    "resumed for longer with other settings": (
        another_budget("--max-steps", 40, "--seed", 3),
        78,
        r"resumed run: --seed 3 \(the run has 0\)",
    ),
    "resumed for longer without its state": (
        another_budget("--max-steps", 40, kept=("--keep", "weights")),
        78,
        r"longer budget: the state before .* not kept \(--keep state\). Try --init-from .*/r",
    ),
    "resumed for longer after a linear decay": (
        another_budget("--epochs", 4, kept=("--lr-schedule", "linear")),
        78,
        r"r with --epochs 4.*: its learning rate decays over the whole budget \(linear\)",
    ),
    "weights of a missing run": (
        training("--init-from", "none"),
        66,
        "cannot open none: there is no such run",
    ),
    "weights of no run": (starting_from_no_run, 66, "it is not a run, since it has no run.json"),
    "weights and resume": (
        lambda p: ["train", "--resume", p, "--init-from", p],
        78,
        "cannot use --resume and --init-from together",
    ),
    "weights of a cell not trusted": (
        starting_from(kept=custom_cell()),
        78,
        "cell.py:MyCell: its file would be executed. Try --trust-cell",
    ),
    "weights of another architecture": (
        starting_from("--hidden-size", 9, "--block", "residual", "--dry-run"),
        78,
        r"--hidden-size 9 \(it has 8\); --block residual .* with --init-from .*/r: its weights",
    ),
    "weights of characters for bytes": (
        starting_from("--vocab", "bytes"),
        78,
        r"--vocab bytes \(it has chars\) with --init-from",
    ),
    "weights that are damaged": (starting_from_damaged, 65, "model.safetensors is damaged"),
    "unknown cell in a file": (
        settings_file("max_steps = 3\ncell = 'lsmt'\n"),
        78,
        r"cannot use cell \(.*run.toml, line 2\): unknown cell 'lsmt'; did you mean lstm",
    ),
    **{
        f"misspelt run of {command}": (
            misspelt_run(command),
            66,
            r"frist: there is no such run.* Did you mean .*/first\?",
        )
        for command in ("sample", "eval", "inspect", "probe", "compare-cells")
    },
    "misspelt run among runs": (misspelt_run_among_runs, 66, r"Did you mean .*/first\?"),
    "resume of a directory": (directory_that_is_no_run, 66, "r: it is not a run, .* no run.json"),
    "steps of zero": (training_for("--steps", 0), 2, "cannot use --steps 0: it must be above 0"),
    "rate of zero": (training("--lr", 0), 2, "cannot use --lr 0: it must be above 0. Leave it out"),
    "text is a file name": (
        lambda p: ["inspect", p, "--text", "chapter1.txt"],
        66,
        "chapter1.txt: it looks like the name of a file.*Try --file chapter1.txt",
    ),
    "missing file to inspect": (
        lambda p: ["inspect", existing(p, training()), "--file", "chapter1.txt"],
        66,
        "chapter1.txt: there is no such file",
    ),
    "code of another model": (
        code_of_another_model,
        78,
        "z: the model with weights [0-9a-f]{16}… compressed it, and .*other/r has",
    ),
    "code that is cut off": (
        altered_code(lambda data: data[:-1]),
        65,
        "z: it is damaged or cut off",
    ),
    "code with another bit": (
        altered_code(lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
        65,
        "z: it is damaged or cut off",
    ),
    "no compressed file": (
        coding("decompress", "book.txt"),
        65,
        "book.txt: it is not a file of charlm compress",
    ),
    "compressed file exists": (
        coding("compress", "book.txt", "book.txt"),
        73,
        "book.txt: it exists",
    ),
    "compression of no file": (coding("compress", "x.txt"), 66, "x.txt: there is no such file"),
    "compression of a folder": (coding("compress", "r"), 66, "r: it is a directory. Try a file"),
    "compression into a file": (
        coding("compress", "book.txt", "book.txt/z"),
        74,
        "cannot (create|write) .*book.txt",
    ),
    "compression on a device": (
        lambda p: ["compress", p, "--run", p, "--out", p / "z", "--device", "cuda"],
        2,
        "no such option: --device",
    ),
    "compression without a run": (
        lambda p: ["compress", p, "--out", p / "z"],
        2,
        "--run",
    ),
    "run beside no run": (
        lambda p: ["inspect", existing(p, training()), p],
        66,
        "it is not a run, .* no run.json",
    ),
    "run beside a missing run": (lambda p: ["inspect", p, p / "x"], 66, "x: there is no such run"),
    "blanked word that is not there": (
        lambda p: ["inspect", existing(p, training()), "--text", "The cat.", "--blank", "dog"],
        65,
        "cannot blank 'dog': it is not in the 8 characters that are read. Try",
    ),
    "occurrence without word": (
        lambda p: ["inspect", p, "--occurrence", 2],
        78,
        "--occurrence: no word is blanked. Try --blank WORD",
    ),
    "units of no second run": (
        lambda p: ["inspect", p, "--other-units", "1:2"],
        78,
        "--other-units: there is no second run. Try --units",
    ),
    "page opened as JSON": (
        lambda p: ["inspect", p, "--open", "--json"],
        78,
        "--open with --json: no page is written",
    ),
    "damaged checkpoint": (damaged_run, 65, "model.safetensors is damaged.*no other checkpoint"),
    "missing corpus": (missing_corpus, 66, "book.txt: there is no such file"),
    "changed corpus": (changed_corpus, 65, "it is not the text of the run"),
    "no cells": (lambda _: ["compare-cells", "--cells", ","], 78, "cell"),
    "range without trials": (
        lambda _: ["compare-cells", "--lr-range", "1e-3..1", "--trials", 0],
        78,
        "--lr-range",
    ),
    "one trial": (lambda _: ["compare-cells", "--trials", 1], 78, "--trials"),
    "no such reference": (
        lambda _: ["compare-cells", "--cells", "gru,rnn", "--reference", "lstm"],
        78,
        "--reference.*gru, rnn",
    ),
    "trials of a task": (
        lambda _: ["tasks", "compare", "copy", "--lengths", 1, "--trials", 3],
        2,
        "no such option: --trials",
    ),
    "margin of a task": (
        lambda _: ["tasks", "compare", "copy", "--lengths", 5, "--margin", 0.1],
        2,
        "no such option: --margin",
    ),
    "report of no directory": (
        lambda p: ["report", p / "x"],
        66,
        "cannot read .*x: there is no such directory. Try the --out of charlm compare-cells",
    ),
    "report of a run": (
        lambda p: ["report", existing(p, training("--final-eval", "none"))],
        66,
        "it is a run, not a comparison. Try charlm compare-cells",
    ),
    "report of an unfinished comparison": (
        lambda p: ["report", comparison(p, report=None)],
        66,
        "the comparison is not finished. Try the charlm compare-cells that began it again",
    ),
    "report of another format": (
        lambda p: ["report", comparison(p, report='{"format": 1}')],
        65,
        "it has format 1, this charlm reads format .*Compare again",
    ),
    "damaged report": (
        lambda p: ["report", comparison(p, report='{"format": 6}'), "--out", p / "out"],
        65,
        "report.json is damaged: .*Restore it from a backup",
    ),
    "unknown format of a report": (
        lambda p: ["report", p, "--format", "html"],
        2,
        "it must be one of markdown, csv, latex, methods, bibtex",
    ),
    "one format and all": (
        lambda p: ["report", p, "--format", "latex", "--out", p / "out"],
        78,
        "--format with --out, which writes all formats. Try",
    ),
    "report exists": (
        lambda p: ["report", p, "--out", p],
        73,
        "cannot write .*: it exists. Try another --out",
    ),
    "bibliography of no cell": (
        lambda _: ["cells", "bibtex", "lsmt"],
        2,
        "unknown cell 'lsmt'; did you mean lstm",
    ),
    "misspelt run of metrics": (
        misspelt_run("metrics"),
        66,
        r"frist: there is no such directory. Did you mean .*/first\?",
    ),
    "misspelt comparison": (
        lambda p: [
            "report",
            comparison(p, report=None).rename(p / "comparison").with_name("cmparison"),
        ],
        66,
        r"cmparison: there is no such directory. Did you mean .*/comparison\?",
    ),
    "metrics of no run": (
        lambda p: ["metrics", p],
        66,
        r"there is no run in it\. Try charlm runs",
    ),
    "metrics of no directory": (
        lambda p: ["metrics", p / "x"],
        66,
        "cannot read .*x: there is no such directory",
    ),
    "runs of no directory": (lambda p: ["runs", p / "x"], 66, "x: there is no such directory. Try"),
    "runs in a file": (lambda p: ["runs", write(p, "f", "x")], 66, "f: it is a file. Try"),
    "option of runs": (lambda p: ["runs", "--all"], 2, "--all"),
    "nothing to clean": (lambda p: ["clean"], 2, "nothing is named. Try charlm clean runs"),
    "clean without directory": (lambda p: ["clean", "--yes"], 2, "nothing is named"),
    "clean of no directory": (
        lambda p: ["clean", p, p / "x", "--yes"],
        66,
        "cannot read .*x: there is no such directory",
    ),
    "argument of doctor": (lambda p: ["doctor", "me"], 2, "me"),
    "characters as a table": (
        lambda p: evaluating(p, "--per-char", p / "bits.csv"),
        2,
        r"bits\.csv: characters are written as \.jsonl, \.parquet or \.html\. Try .*bits\.jsonl",
    ),
    "file of characters exists": (
        lambda p: evaluating(p, "--per-char", write(p, "bits.html", "mine")),
        73,
        r"bits\.html: it exists",
    ),
    "page of a large text": (
        lambda p: evaluating(p, write(p, "t.txt", prose(50_001)), "--per-char", p / "b.html"),
        65,
        "a page has room for 50,000 characters, and the text has more. Try",
    ),
    "text that is no UTF-8": (
        lambda p: evaluating(p, write(p, "t.txt", b"cat \xff"), "--per-char", p / "b.jsonl"),
        65,
        "is not UTF-8",
    ),
    "bytes for a run of characters": (
        lambda p: evaluating(p, write(p, "t.bin", b"\xff\xfe\0\1\2")),
        65,
        "not UTF-8 at byte 0.* Try to convert it, or a run trained with --vocab bytes$",
    ),
    "other encoding for a run of characters": (
        lambda p: evaluating(p, write(p, "t.txt", "cat".encode("utf-16"))),
        65,
        "Try iconv -f utf-16 -t utf-8, or a run trained with --vocab bytes$",
    ),
    "misspelt split": (
        lambda p: ["eval", p, "--split", "vaild"],
        2,
        r"--split vaild: it must be one of test, valid, train. Did you mean valid\?",
    ),
    "rate without dynamic": (
        lambda p: evaluating(p, "--dynamic-rate", 0.1),
        78,
        "cannot use --dynamic-rate: .*Try it with --dynamic",
    ),
    "dynamic rate of zero": (
        lambda p: evaluating(p, "--dynamic", "--dynamic-rate", 0),
        2,
        "a dynamic rate of 0: it must be a number above 0",
    ),
    "protocol of a short text": (
        lambda p: evaluating(p, "--protocol", "torch-rnn"),
        65,
        "cannot score as torch-rnn does: the text has 150 tokens, and it needs 2,501",
    ),
    "unknown protocol": (lambda p: ["eval", p, "--protocol", "gpt"], 2, "--protocol gpt"),
    "seed of no protocol": (
        lambda p: evaluating(p, "--seed", 3),
        78,
        "only the protocol nanogpt draws random windows",
    ),
    "baselines of another text": (
        lambda p: evaluating(p, write(p, "t.txt", "cat"), "--baselines"),
        78,
        "they are those of the test split",
    ),
    "diff of other test splits": (
        diff_of_other_texts,
        65,
        "their test splits are different texts. Try a TEXT",
    ),
    "diff page exists": (
        lambda p: ["diff", existing(p, training()), p / "r", "--out", write(p, "d.html", "mine")],
        73,
        r"d\.html: it exists",
    ),
    "too many passages": (lambda p: ["diff", p, p, "--passages", 101], 2, "--passages"),
    "diff with no run": (lambda p: ["diff", p, p / "x"], 66, "x: there is no such run"),
    "comparison exists": (
        lambda p: ["compare-cells", "--out", write(p, "x", "").parent],
        73,
        "exists",
    ),
}
FAST = ["no such option", "not a number", "missing file", "directory exists", "unknown cell"]
FAST += ["corpus that is not there", "unknown corpus", "corpora command"]
FAST += ["no units", "two budgets", "resume of no run", "no run", "empty file"]
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ERRORS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("own_cache")
def test_error_is_one_line_with_cause_and_remedy(name: str, tmp_path: Path) -> None:
    prepare, code, pattern = ERRORS[name]
    words = prepare(tmp_path)
    reports = set(tmp_path.rglob("report.json"))
    done = charlm(*words)
    stderr = done.stderr.decode()
    assert done.returncode == code, stderr
    assert (done.stdout == b"" or "--json" in words) and "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("charlm: ")]
    assert line == stderr.splitlines()[-1] and re.search(pattern, line), stderr
    assert set(tmp_path.rglob("report.json")) == reports
    if name == "directory exists":
        assert (tmp_path / "r" / "thesis.txt").read_text() == "my work"
    if name == "resume of no run":
        assert not (tmp_path / "x").exists()


def test_every_exit_code_is_documented() -> None:
    codes = {kind.code for kind in CharlmError.__subclasses__()}
    assert codes | {0, 2, 70, 129, 130, 141, 143} == set(EXIT_CODES)
    listed = json.loads(charlm("exit-codes", "--json").stdout)["exit_codes"]
    assert {code["exit_code"]: (code["code"], code["meaning"]) for code in listed} == EXIT_CODES
    lines = charlm("exit-codes").stdout.decode().splitlines()
    assert [int(line.split()[0]) for line in lines] == list(EXIT_CODES)
    assert len({name for name, _ in EXIT_CODES.values()}) == len(EXIT_CODES)
    assert b"charlm exit-codes" in charlm("--help").stdout


@pytest.mark.parametrize("name", ["no such option", "no units", "missing file", "two budgets"])
def test_error_is_json_on_stdout_if_json_is_asked_for(name: str, tmp_path: Path) -> None:
    prepare, code, _ = ERRORS[name]
    words = prepare(tmp_path)
    plain, done = charlm(*words), charlm(*words, "--json")
    assert done.returncode == code and done.stdout.count(b"\n") == 1
    assert json.loads(done.stdout) == {
        "error": {
            "code": EXIT_CODES[code].name,
            "exit_code": code,
            "message": plain.stderr.decode().splitlines()[-1].removeprefix("charlm: "),
        }
    }
    assert done.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]
