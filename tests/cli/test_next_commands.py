"""Commands that charlm prints, to be pasted into a shell."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import charlm, make_run

from charlm import console
from charlm.cli.train import print_next_commands
from charlm.console import shell_command
from charlm.probes.batch import equivalent_command, probe_job
from charlm.probes.runner import select_probes

CELL = """
from charlm.cells.base import CELLS


class Mine(CELLS["rnn"]):
    pass
"""
NAMES = ["runs/gru", "my run", "it's", 'say "so"', "a$HOME`ls`", "-dash", "tab\there", "zeile\nneu"]
NAMES += ["é 漢字", "\x1b[31mred", os.fsdecode(b"latin-\xe91"), os.fsdecode(b"'\xff\\ \n")]


@pytest.mark.parametrize("name", NAMES)
def test_shell_reads_the_words_that_were_meant(name: str) -> None:
    line = shell_command(["printf", "%s", name])
    assert not console.CONTROL_CHARACTERS.search(line)
    assert console.escape_control_characters(line) == line
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout == os.fsencode(name)


def test_run_of_an_own_cell_is_sampled_by_the_command_that_training_prints(
    tmp_path: Path, book: Path
) -> None:
    directory = tmp_path / "it's mine"
    directory.mkdir()
    (directory / "cell.py").write_text(CELL)
    words = ["--hidden-size", 6, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 8]
    words += ["--max-steps", 2, "--final-eval", "none", "--run", directory / "run"]
    done = charlm("train", book, "--cell", f"{directory / 'cell.py'}:Mine", *words)
    assert done.returncode == 0, done.stderr
    sample, inspect = (line[6:] for line in done.stderr.decode().splitlines()[-2:])
    assert done.stderr.decode().splitlines()[-2].startswith("next: charlm sample ")
    assert shlex.split(sample)[:2] == ["charlm", "sample"]
    assert shlex.split(inspect)[1] == "inspect"
    assert shlex.split(inspect)[2:] == shlex.split(sample)[2:]
    assert shlex.split(sample)[3:] == ["--trust-cell", f"{directory / 'cell.py'}:Mine"]
    done = charlm(*shlex.split(sample)[1:], "--length", 5)
    assert done.returncode == 0, done.stderr
    # Without the cell, its file is not executed.
    assert charlm("sample", directory / "run").returncode == 78
    # A resumed run names the cell, too.
    cell = f"{directory / 'cell.py'}:Mine"
    done = charlm("train", "--resume", directory / "run", "--trust-cell", cell)
    assert done.stderr.decode().splitlines()[-2] == f"next: {sample}"


def test_next_commands_of_built_in_cells_need_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_next_commands(Path(os.fsdecode(b"runs/\xe9")), "gru")
    assert capsys.readouterr().err == (
        "next: charlm sample $'runs/\\xe9'\n      charlm inspect $'runs/\\xe9'\n"
    )


def test_name_like_an_option_is_never_taken_for_one(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(Path("-x"), book)[0]
    print_next_commands(run.path, "gru")
    assert capsys.readouterr().err.startswith("next: charlm sample ./-x\n")
    probes = select_probes(["context-shuffle"])
    words = probe_job(run, Path("-out"), [], probes).argv
    assert words[:3] == ["probe", "./-x", "--out=-out/-x"]
    assert "charlm probe ./-x " in equivalent_command([run], probes, [], Path("-out"))
    done = charlm(*words[:3], "--dry-run")
    assert done.stderr.startswith(b"charlm: cannot read -x: it has no checkpoint yet")
