"""The tutorial: its commands and programs run in a small version, and outputs are those shown."""

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import charlm
from forked import run_script
from test_docs import load_script

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial"
PAGES = sorted(TUTORIAL.glob("[0-9]*.md"))
BUDGET = "--characters 3000000"


def test_every_command_with_a_shown_output_is_recorded() -> None:
    record = load_script("docs_record")
    assert record.pages()[1:] == PAGES
    pages = [page.read_text() for page in record.pages()]
    assert [text.split()[:2] for _, text in record.steps(pages[0])] == [
        ["charlm", "train"],
        ["charlm", "sample"],
        ["charlm", "eval"],
    ]
    commands = [text for page in pages for name, text in record.steps(page) if not name]
    assert list(json.loads((TUTORIAL / "transcript.json").read_text())) == list(
        dict.fromkeys(commands)
    )
    assert sum(BUDGET in command for command in commands) == 3


@pytest.mark.slow
def test_tutorial_runs(tmp_path: Path) -> None:
    steps = load_script("docs_record").steps
    for page in PAGES:
        for name, text in steps(page.read_text()):
            if name:
                (tmp_path / name).write_text(text.replace("16_000", "600"))
                continue
            command = text.replace(BUDGET, "--max-steps 3 --test-chars 2000 --batch-size 4")
            program, *words = shlex.split(command)
            if program == "head" or words[:2] == ["cells", "check"]:  # README has the check
                continue
            if program == "python":
                done = run_script(tmp_path / words[0], *words[1:], cwd=tmp_path)
            else:
                done = charlm(*words, cwd=tmp_path)
            assert done.returncode == 0, (command, done.stderr)
    assert (tmp_path / "belt-lstm.svg").read_bytes().startswith(b"<?xml")


def test_tutorial_shows_the_cells_of_its_runs() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert re.findall(r'cog step\("(\w+)"\)', text) == ["rnn", "lstm", "gru"]
