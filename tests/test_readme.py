"""Commands and code of the README, run as they are, with smaller budgets."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest
from conftest import charlm, prose
from forked import run_script

from charlm.cells.names import CELL_NAMES
from charlm.tasks.base import TASKS

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = [
    line
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", README, re.S | re.M)
    for line in block.splitlines()
    if not language and re.match(r"(\w+ \S+ \| )?charlm ", line)
]
API_EXAMPLE, CUSTOM_CELL = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
TRAINING_COMMAND = re.compile(r"charlm (train|compare-cells)")


def shrink(line: str) -> str:
    """Return the command with a budget that suits a test."""
    line = re.sub(r"--minutes \S+", "--max-steps 3", line)  # no test depends on the clock
    line = re.sub(r"--epochs \S+", "--epochs 0.2", line)
    line = re.sub(r"--max-steps \S+", "--max-steps 3", line)
    line = re.sub(r"--trials \S+", "--trials 2", line)
    line = re.sub(r" --seeds \S+", "", line)
    if "compare-cells runs/" in line:
        return line
    if re.search(r"--run runs/(first|gru)$", line):  # the default text has millions of characters
        line = line.replace("charlm train", "charlm train long.txt")
    if "compare-cells" in line or "tasks compare" in line:
        line += " --seeds 1"
    if line.startswith("charlm probe"):
        line += " --max-chars 2000"
    elif re.match("charlm tasks (train|compare)", line):
        line += " --batch-size 4"
    elif TRAINING_COMMAND.search(line) and "--resume" not in line:
        line += " --batch-size 4 --seq-len 16 --test-chars 20000"
        if "compare-cells" in line:
            line += " --baselines none --no-memory"
            if "--trials" not in line:
                line += " --lr 0.01"  # without runs at twice and half of the rate
        if "--max-steps" not in line and "--epochs" not in line:
            line += " --max-steps 3"
    return line


# In place of charlm: what the shell makes of the words and pipes of a command.
RECORDER = r"""
charlm() { printf '%s\0' "$@" > ../words; cat > ../input; }
{ COMMAND
} < /dev/null
"""


def shell_words(line: str, directory: Path) -> tuple[list[str], bytes]:
    """Return the arguments and the standard input that a shell gives to charlm."""
    script = RECORDER.replace("COMMAND", line)
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=directory, check=True)
    words = (directory.parent / "words").read_text().split("\0")[:-1]
    return words, (directory.parent / "input").read_bytes()


def command_chains() -> list[list[str]]:
    """Return the commands, each after those whose runs it needs."""
    chains: list[list[str]] = []
    for line in COMMANDS:
        needed = [
            chain
            for chain in chains
            for path in re.findall(r"--(?:run|out) (\S+)", " ".join(chain))
            if re.search(rf" {re.escape(path)}(?=[ /]|$)", line)
        ]
        chains = [chain for chain in chains if chain not in needed]
        before = list(dict.fromkeys(command for chain in needed for command in chain))
        chains.append([*before, line])
    return chains


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with the files that the README assumes."""
    path = tmp_path / "readme"
    path.mkdir()
    (path / "notes").mkdir()
    (path / "book.txt").write_text(prose(5000))
    (path / "long.txt").write_text(prose(60_000))
    (path / "other.py").write_text(prose(300))
    (path / "notes" / "one.md").write_text(prose(5000))
    (path / "my_cell.py").write_text(CUSTOM_CELL)
    (path / "log.gz").write_bytes(gzip.compress(prose(5000).encode()))
    return path


def test_readme_has_no_placeholders() -> None:
    assert "@@" not in README


def test_readme_counts_cells_and_tasks() -> None:
    assert f"recurrent cells ({len(CELL_NAMES)} of them" in README
    assert f"nothing but memory**: {len(TASKS)} of them" in README


def test_readme_shows_every_command() -> None:
    assert {line.split("charlm ")[1].split()[0] for line in COMMANDS} == {
        *("train", "sample", "eval", "inspect", "probe", "compare-cells", "cells", "tasks")
    }


@pytest.mark.slow
def test_readme_api_example_runs(directory: Path) -> None:
    script = directory / "example.py"
    script.write_text(re.sub(r"max_steps=\d+", "max_steps=3", API_EXAMPLE))
    done = run_script(script, cwd=directory)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


@pytest.mark.slow
@pytest.mark.parametrize("chain", command_chains(), ids="; ".join)
def test_readme_commands_run(chain: list[str], directory: Path) -> None:
    for line in chain:
        words, stdin = shell_words(shrink(line), directory)
        done = charlm(*words, cwd=directory, input=stdin)
        assert done.returncode == 0, (line, done.stderr.decode())
        assert done.stdout, line
