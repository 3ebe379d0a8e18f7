"""The script that types the commands of README in a fresh clone."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from test_docs import ROOT, load_script

PAGE = """
```
make setup   # sets up
charlm sample runs/first --prompt "The "
```
<!-- [[[cog output() ]]] -->
```
charlm never
```
<!-- [[[end]]] -->
```python
class MyCell: ...
```
```python
import charlm
```
"""


@pytest.fixture
def newcomer() -> ModuleType:
    return load_script("newcomer")


def test_commands_and_files_are_typed_in_order(newcomer: ModuleType) -> None:
    assert list(newcomer.typed(PAGE)) == [
        ("", "make setup"),
        ("", 'charlm sample runs/first --prompt "The "'),
        ("my_cell.py", "class MyCell: ...\n"),
        ("example.py", "import charlm\n"),
        ("", "python example.py"),
    ]
    commands = [text for name, text in newcomer.typed((ROOT / "README.md").read_text()) if not name]
    assert commands[:3] == ["make setup", "make compare", "charlm train --run runs/first"]


def test_first_command_that_fails_is_the_last(
    newcomer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    python = sys.executable
    page = f"```\n{python} -c 'print(1)'\n{python} -c 0 left out\n{python} -c 1/0\ntrue\n```\n"
    real_run = newcomer.run

    def run(command: str, directory: Path) -> object:
        if command.startswith("git clone"):
            (tmp_path / "clone").mkdir()
            (tmp_path / "clone" / "README.md").write_text(page)
            return newcomer.Step(command, 0, 0.0, 0.0)
        return real_run(command, directory)

    monkeypatch.setattr(newcomer, "run", run)
    done = list(newcomer.steps(tmp_path / "clone", ["left out"]))
    assert [step.code for step in done] == [0, 0, 1]
    assert done[1].seconds > 0 and done[1].cpu_seconds > 0
    assert len((tmp_path / "clone" / "book.txt").read_text()) > 100_000
