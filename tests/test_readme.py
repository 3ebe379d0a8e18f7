"""The README's commands, run as they stand, but for smaller budgets."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import prose

from charlm.cells.names import CELL_NAMES
from charlm.tasks.base import TASKS

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = [
    line
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", README, re.S | re.M)
    for line in block.splitlines()
    if not kind and re.match(r"(\w+ \S+ \| )?charlm ", line)
]
(MY_CELL,) = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
TRAINS = re.compile(r"charlm (train|compare-cells)")


def small(line: str) -> str:
    """The same command, with a budget that a test has, and a model of that size."""
    line = re.sub(r"--minutes \S+", "--minutes 0.01", line)
    line = re.sub(r"--epochs \S+", "--epochs 0.2", line)
    line = re.sub(r"--max-steps \S+", "--max-steps 3", line)
    line = re.sub(r"--trials \S+", "--trials 2", line)
    line = re.sub(r" --seeds \S+", "", line)
    if "compare-cells runs/" in line:
        return line
    if "compare-cells" in line:
        line += " --seeds 1"
    if line.startswith("charlm probe"):
        line += " --characters 2000"
    elif "--task" in line:
        line += " --batch-size 4"
    elif TRAINS.search(line) and "--resume" not in line:
        line += " --batch-size 4 --seq-len 16"
        if "compare-cells" in line:
            line += " --no-transformer" + " --trials 0" * ("--trials" not in line)
        if "python-source" in line:
            line += " --final-eval none"  # the exact score of 0.6 million characters takes a while
        if "--max-steps" not in line and "--minutes" not in line and "--epochs" not in line:
            line += " --max-steps 3"
    return line


def chains() -> list[list[str]]:
    """The commands, each after those whose runs it goes on with."""
    made: list[list[str]] = []
    for line in COMMANDS:
        after = [
            chain
            for chain in made
            for path in re.findall(r"--(?:run|out) (\S+)", " ".join(chain))
            if re.search(rf" {re.escape(path)}(?=[ /]|$)", line)
        ]
        made = [chain for chain in made if chain not in after]
        before = list(dict.fromkeys(one for chain in after for one in chain))
        made.append([*before, line])
    return made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What the README's reader has: a book, notes, a log, another file."""
    path = tmp_path / "readme"
    path.mkdir()
    (path / "notes").mkdir()
    (path / "book.txt").write_text(prose(5000))
    (path / "other.py").write_text(prose(300))
    (path / "notes" / "one.md").write_text(prose(5000))
    (path / "my_cell.py").write_text(MY_CELL)
    (path / "log.gz").write_bytes(gzip.compress(prose(5000).encode()))
    return path


def test_the_readme_is_whole() -> None:
    assert "@@" not in README


def test_the_readme_counts_cells_and_tasks_as_they_are() -> None:
    assert f"recurrent cells ({len(CELL_NAMES)} of them" in README
    assert f"nothing but memory**: {len(TASKS)} of them" in README


def test_the_readme_shows_each_command() -> None:
    assert {line.split("charlm ")[1].split()[0] for line in COMMANDS} == {
        *("train", "sample", "eval", "inspect", "probe", "compare-cells", "cells", "tasks")
    }


@pytest.mark.parametrize("chain", chains(), ids="; ".join)
def test_the_commands_of_the_readme_run(chain: list[str], place: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in chain:
        words = ["bash", "-o", "pipefail", "-c", small(line)]
        done = subprocess.run(words, cwd=place, env=env, capture_output=True, check=False)
        assert done.returncode == 0, (line, done.stderr.decode())
        assert done.stdout, line
