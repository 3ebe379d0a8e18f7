"""Type the commands of README in a fresh clone, and print how long each took.

    python scripts/newcomer.py [--directory DIR] [--skip TEXT ...]

The clone has an environment of its own, into which `make setup` installs charlm. Commands run in
the order of the page, on one thread. `book.txt` is the reference documentation of Python. What
fails is shown with its exit code, and ends the list.
"""

import argparse
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data import topics
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(python|bash)?\n(.*?)^```$", re.S | re.M)
GENERATED = re.compile(r"^<!-- \[\[\[cog.*?\[\[\[end\]\]\] -->", re.S | re.M)


class Step(NamedTuple):
    """A command and what it took."""

    command: str
    code: int  # exit code
    seconds: float
    cpu_seconds: float  # of all its processes


def typed(page: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each file that a page shows, and ("", command) of each command."""
    for language, block in BLOCK.findall(GENERATED.sub("", page)):
        if language == "python":
            yield ("example.py" if "import charlm\n" in block else "my_cell.py"), block
            if "import charlm\n" in block:
                yield "", "python example.py"
        else:
            for line in block.splitlines():
                if command := line.partition("  #")[0].strip():
                    yield "", command


def run(command: str, directory: Path) -> Step:
    """Run a command in the environment of the clone."""
    path = f"{directory / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    for name in ("VIRTUAL_ENV", "PYTHONPATH"):
        environment.pop(name, None)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    code = subprocess.run(
        command, shell=True, cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=False
    ).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Step(command, code, time.monotonic() - start, cpu)


def steps(directory: Path, skipped: Sequence[str]) -> Iterator[Step]:
    """Clone into a directory, type all commands and yield each; the first that fails is the last.

    Args:
        directory: Directory that does not exist.
        skipped: Commands that contain one of these texts are left out.
    """
    yield run(shlex.join(["git", "clone", "--quiet", str(ROOT), str(directory)]), Path())
    (directory / "book.txt").write_text("\n".join(topics.topics.values()))
    for name, text in typed((directory / "README.md").read_text()):
        if name:
            (directory / name).write_text(text)
        elif not any(part in text for part in skipped):
            step = run(text, directory)
            yield step
            if step.code:
                return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--directory", type=Path, help="new directory of the clone")
    parser.add_argument(
        "--skip", nargs="*", default=[], metavar="TEXT", help="leave out commands with this text"
    )
    options = parser.parse_args(arguments)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="newcomer-")) / "charlm"
    code = 0
    print("| typed | seconds | CPU seconds |\n|---|---|---|", flush=True)
    for step in steps(directory.absolute(), options.skip):
        code, failed = step.code, f" (exit code {step.code})" if step.code else ""
        shown = step.command.replace(str(directory.absolute()), "charlm")
        shown = shown.replace(str(ROOT), "URL").replace("|", "\\|")
        print(f"| `{shown}`{failed} | {step.seconds:.1f} | {step.cpu_seconds:.1f} |", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
