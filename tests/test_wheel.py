"""The wheel works in an environment without the source: commands, C code, templates, data."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import prose

ROOT = Path(__file__).parent.parent
SMALL = ["--batch-size", "4", "--seq-len", "16", "--max-steps", "4", "--final-eval", "valid"]

pytestmark = pytest.mark.slow


class Installation(NamedTuple):
    """An environment with the wheel, beside the libraries of the environment of the tests."""

    directory: Path
    package: Path

    def charlm(self, *words: str) -> str:
        """Run the installed command in an empty directory and return its output."""
        script = self.directory / "bin" / "charlm"
        return run([str(script), *words], self.directory.parent / "work")


def run(words: list[str], directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    path = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(path), str(ROOT)]
    run(build, path)  # the wheel is built from the source distribution
    (wheel,) = path.glob("*.whl")
    environment = path / "environment"
    venv.create(environment, symlinks=True)
    python = str(environment / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], path)
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run([python, "-c", query], path).strip())
    # A directory that a .pth file names is searched, but its own .pth files are not read: that of
    # the editable installation is one.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return Installation(environment, site / "charlm")


def test_wheel_trains_samples_and_compares_without_the_source(installation: Installation) -> None:
    charlm = installation.charlm
    work = installation.directory.parent / "work"
    where = "import charlm; print(charlm.__file__)"
    python = str(installation.directory / "bin" / "python")
    assert run([python, "-c", where], work).strip() == str(installation.package / "__init__.py")
    assert charlm("--version").startswith("charlm ")
    (work / "book.txt").write_text(prose(4000))
    charlm("train", "book.txt", "--hidden-size", "8", *SMALL, "--kernel", "compiled", "--run", "r")
    assert len(charlm("sample", "r", "--length", "20")) >= 20
    words = ["--cells", "rnn", "--params", "9400", "--seeds", "1", "--no-memory", "--out", "c"]
    words += ["--trials", "0", "--baselines", "none", *SMALL[:-2]]
    charlm("compare-cells", "book.txt", *words)
    assert "<html" in (work / "c" / "report.html").read_text()
    assert len(json.loads(charlm("corpora", "list", "--json"))["corpora"]) > 3
    states = [run["state"] for run in json.loads(charlm("runs", ".", "--json"))["runs"]]
    assert states and set(states) == {"finished"}
