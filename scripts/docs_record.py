"""Run the commands of README and tutorial whose output is shown, and record what they print.

    python scripts/docs_record.py [--directory DIR] [--only-missing]

Files that a page shows (a code block below a line that ends with `NAME.py`:) are written first. Of
README, only blocks with a recorded output below are run. Outputs are in
docs/tutorial/transcript.json, figures beside it. Then run `make docs`.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial"
TRANSCRIPT = TUTORIAL / "transcript.json"
# A block whose output a page shows further below, by commands that it names.
RECORDED_BLOCK = re.compile(r'^```\n(?:.+\n)+?```$(?=[^`]*<!-- \[\[\[cog output\("charlm)', re.M)
FILE_OR_BLOCK = re.compile(r"(?:`(\w+\.py)`:\n\n)?^```(python|bash)?\n(.*?)^```$", re.S | re.M)


def steps(page: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each file of a page, and ("", command) of each command, in order."""
    page = "\n".join(RECORDED_BLOCK.findall(page)) if RECORDED_BLOCK.search(page) else page
    page = re.sub(r"^<!-- \[\[\[cog.*?\[\[\[end\]\]\] -->", "", page, flags=re.S | re.M)
    for name, language, text in FILE_OR_BLOCK.findall(page):
        if name:
            yield name, text
        elif language != "python":
            for line in text.replace("\\\n", " ").splitlines():
                if line.strip():
                    yield "", " ".join(line.split())


def pages() -> list[Path]:
    """Return the pages with recorded outputs, in order."""
    return [README, *sorted(TUTORIAL.glob("[0-9]*.md"))]


def run(command: str, directory: Path) -> str:
    """Run a command; return what it prints on standard output.

    Raises:
        CalledProcessError: It failed; its messages are on standard error.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command,
        shell=True,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def save(outputs: dict[str, str]) -> None:
    """Write the transcript."""
    TRANSCRIPT.write_text(json.dumps(outputs, indent=1, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", type=Path, help="where to run; default: a new directory")
    parser.add_argument("--only-missing", action="store_true", help="keep what is recorded")
    options = parser.parse_args(arguments)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="tutorial-"))
    recorded = json.loads(TRANSCRIPT.read_text()) if TRANSCRIPT.exists() else {}
    kept = {}
    for page in pages():
        for name, text in steps(page.read_text()):
            if name:
                (directory / name).write_text(text)
            elif options.only_missing and text in recorded:
                kept[text] = recorded[text]
            else:
                print(text, flush=True)
                kept[text] = run(text, directory)
                save({**recorded, **kept})
    save(kept)
    for figure in directory.glob("*.svg"):
        shutil.copyfile(figure, TUTORIAL / figure.name)


if __name__ == "__main__":
    main()
