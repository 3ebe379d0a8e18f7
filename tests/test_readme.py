"""Commands and code of README and guides, run as they are, with smaller budgets."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest
from conftest import charlm, prose
from forked import run_script

from charlm.cells.names import CELL_NAMES
from charlm.tasks.base import TASKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDES = [  # in an order in which the runs that a page names exist
    ROOT / "docs" / "guides" / f"{name}.md" for name in ("texts", "compare-cells", "look-inside")
]
API_EXAMPLE = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)[-1]
CUSTOM_CELL = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)[0]


def commands(page: str) -> list[str]:
    """Return the charlm commands of a page, in order."""
    return [
        line
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page, re.S | re.M)
        for line in block.replace("\\\n", " ").splitlines()
        if not language and re.match(r"(\w+ \S+ \| )?charlm ", line)
    ]


def shrink(line: str) -> str:
    """Return the command with a budget that suits a test."""
    line = line.replace(" --open", "")  # there may be no browser
    line = re.sub(r"--minutes \S+", "--max-steps 3", line)  # no test depends on the clock
    line = re.sub(r"--epochs \S+", "--epochs 0.2", line)
    line = re.sub(r"--max-steps \S+", "--max-steps 3", line)
    line = re.sub(r"--trials \S+", "--trials 2", line)
    line = re.sub(r"--cells (lstm,gru|gru,lstm),mingru", "--cells lstm,mingru", line)
    line = re.sub(r" --seeds \S+", "", line)
    line = re.sub(r"--lengths \S+", "--lengths 1,2", line)
    if "compare-cells runs/" in line:
        return f"{line} --no-memory"
    line = line.replace("probe runs/first --full", "probe runs/first --probes gradient-norm")
    # The default text has millions of characters.
    line = re.sub(r"^charlm train (?=--run|--cell)", "charlm train long.txt ", line)
    line = line.replace("compare-cells --dry-run", "compare-cells book.txt --dry-run")
    if "compare-cells" in line or "tasks compare" in line:
        line += " --seeds 1" + " --cells gru" * line.startswith("charlm tasks")
    if line.startswith("charlm probe"):
        line += " --max-chars 2000"
    elif re.match("charlm tasks (train|compare)", line):
        line += " --batch-size 4"
    elif re.search(r"charlm (train|compare-cells)", line):
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


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with the files that the pages assume."""
    path = tmp_path / "readme"
    path.mkdir()
    (path / "notes").mkdir()
    (path / "book.txt").write_text(prose(5000))
    (path / "long.txt").write_text(prose(60_000))
    (path / "notes" / "one.md").write_text(prose(5000))
    (path / "my_cell.py").write_text(CUSTOM_CELL)
    (path / "log.gz").write_bytes(gzip.compress(prose(5000).encode()))
    return path


def test_readme_is_short_and_has_no_placeholders() -> None:
    assert "@@" not in README and "TODO" not in README
    assert len(README.splitlines()) <= 180


def test_readme_counts_cells_and_tasks() -> None:
    recurrent = len(CELL_NAMES)
    assert f"RNN, LSTM, GRU, {recurrent - 3} more" in README
    assert f"\n{recurrent} recurrent cells, " in README
    assert re.search(rf"memory: {len(TASKS)}\sof them", README)


@pytest.mark.slow
def test_readme_api_example_runs(directory: Path) -> None:
    script = directory / "example.py"
    script.write_text(re.sub(r"max_steps=\d+", "max_steps=3", API_EXAMPLE))
    done = run_script(script, cwd=directory)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


@pytest.mark.slow
def test_commands_of_readme_and_guides_run_in_order(directory: Path) -> None:
    pages = [README, *(page.read_text() for page in GUIDES)]
    done: set[str] = set()
    for line in (line for page in pages for line in commands(page)):
        if line in done:  # as of a cell that two pages check
            continue
        if "--blank" in line:  # the text of the test has no other words of the same form
            continue
        done.add(line)
        words, stdin = shell_words(shrink(line), directory)
        process = charlm(*words, cwd=directory, input=stdin)
        assert process.returncode == 0, (line, process.stderr.decode())
        assert process.stdout, line
