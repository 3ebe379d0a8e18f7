"""Tests of --config, --preset and `charlm config show`, on the command line."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import prose

from charlm import train
from charlm.cli.main import run_command
from charlm.errors import CharlmError
from charlm.presets import PRESETS
from charlm.runs.run import Run

FILE = """text = "book.txt"
cell = "rnn"
kernel = "loop"
hidden_size = 8
embedding_dim = 4
batch_size = 4
seq_len = 16
characters = 256
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a text and a file of settings, which is the current one."""
    (tmp_path / "book.txt").write_text(prose(3000))
    (tmp_path / "run.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Shell:
    """Command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> str:
        """Run a command and return what it printed on stdout."""
        self.monkeypatch.setattr(sys, "argv", ["charlm", *map(str, words)])
        self.capsys.readouterr()
        assert run_command() == 0
        return self.capsys.readouterr().out

    def settings(self, *words: object) -> dict[str, dict[str, Any]]:
        """Return what `charlm config show` prints, by key."""
        report = json.loads(self("config", "show", *words, "--json"))
        return {setting["name"]: setting for setting in report["settings"]}


@pytest.fixture
def shell(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    del project
    return Shell(monkeypatch, capsys)


# name: (file, further words, command, pattern)
ERRORS: dict[str, tuple[str, list[str], str, str]] = {
    "unknown key": ("hiden_size = 3", [], "train", r"e.toml, line 1\): .*Try hidden_size$"),
    "dash": ("hidden-size = 3", [], "train", "Try hidden_size$"),
    "other name of an option": ("\nlr = 3", [], "train", "line 2.*Try learning_rate$"),
    "name of another program": ("rnn_size = 3", [], "train", "Try hidden_size$"),
    "option of another command": ('cell = "gru"', [], "compare-cells", "compare-cells .*Try cells"),
    "key of the command line": ("dry_run = true", [], "train", "dry_run .*no such setting"),
    "trusted code": ('trust_cell = "a.py:A"', [], "train", "trust_cell .*no such setting"),
    "wrong type": ('seed = "x"', [], "train", r'seed = "x" \(e.toml, line 1\).*whole number'),
    "wrong range": ("dropout = 1.0", [], "train", "dropout = 1.0 .*line 1.*below 1"),
    "wrong word": ('vocab = "words"', [], "train", "vocab .*one of bytes, chars"),
    "wrong switch": ("tie_weights = 1", [], "train", "tie_weights = 1 .*true or false"),
    "wrong type of a command's own": ('seeds = "x"', [], "compare-cells", "seeds .*whole number"),
    "truth for a number": ("seeds = true", [], "compare-cells", "seeds = true .*whole number"),
    "wrong range of its own": ("seeds = 0", [], "compare-cells", "seeds = 0 .*line 1.*from 1"),
    "wrong word of its own": ('match = "x"', [], "compare-cells", "match .*one of params"),
    "number for a text": ("cells = 3", [], "compare-cells", "cells = 3 .*a text"),
    "no text": ("text = []", [], "train", "text = .*a text or a list of texts"),
    "numbers for texts": ("text = [3]", [], "train", "a text or a list of texts"),
    "task": ("task = 3", [], "tasks train", "task = 3 .*a text"),
    "text of a task": ('glob = "*"', [], "tasks train", "glob .*no such setting"),
    "unknown preset": ('preset = "minut"', [], "train", r"e.toml, line 1\): unknown preset"),
    "unknown preset of the command": ("", ["--preset", "x"], "train", "unknown preset 'x'"),
    "table": ("[a]\nb = 1", [], "train", "it is a table"),
    "no TOML": ("a =", [], "train", "it is not TOML.*line 1"),
    "two budgets": ("epochs = 1.0\nmax_steps = 3", [], "train", "cannot use 2 budgets"),
    "changed by resuming": ("hidden_size = 9", ["--resume", "no"], "train", "no such run"),
    "words of a number": ("", ["--threads", "all"], "train", "--threads all: .*auto"),
    "numbers of the processor": ("", ["--dtype", "bf16", "--device", "cpu"], "train", "--dtype"),
    "unknown numbers": ("", ["--dtype", "fp16"], "train", "one of bf16, fp32|one of fp32, bf16"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_with_cause_and_remedy(name: str, project: Path, shell: Shell) -> None:
    text, words, command, pattern = ERRORS[name]
    (project / "e.toml").write_text(text)
    source = ["book.txt"] if command == "train" else []
    with pytest.raises(CharlmError, match=pattern) as raised:
        shell(*command.split(), *source, *words, "--config", "e.toml")
    assert "\n" not in str(raised.value) and raised.value.code in (2, 65, 66, 78)
    assert {path.name for path in project.iterdir()} <= {"e.toml", "run.toml", "book.txt", "runs"}


def test_missing_file_and_directory_without_run_are_refused(shell: Shell) -> None:
    with pytest.raises(CharlmError, match="none.toml: No such file"):
        shell("train", "--config", "none.toml")
    with pytest.raises(CharlmError, match="it is not a run"):
        shell("train", "--config", ".")


def test_every_value_names_its_origin(shell: Shell) -> None:
    settings = shell.settings("--config", "run.toml", "--seed", 3, "--cell=gru")
    origins = {
        name: (settings[name]["value"], settings[name]["origin"], settings[name]["place"])
        for name in ("text", "hidden_size", "cell", "seed", "seq_len", "beta1", "grad_clip")
    }
    assert origins == {
        "text": (["book.txt"], "given", "run.toml, line 1"),
        "hidden_size": (8, "given", "run.toml, line 4"),
        "cell": ("gru", "given", "command line"),
        "seed": (3, "given", "command line"),
        "seq_len": (16, "given", "run.toml, line 7"),
        "beta1": (0.8, "default", ""),
        "grad_clip": (0.25, "recipe", ""),
    }
    assert settings["device"]["value"] == "auto" and settings["device"]["resolved"]
    shown = shell("config", "show", "--config", "run.toml")
    assert "hidden_size = 8" in shown and "# run.toml, line 4" in shown
    assert "# recipe of rnn" in shown and "# default; here " in shown


def test_budget_of_the_stronger_source_replaces_the_other(project: Path, shell: Shell) -> None:
    budgets = {"characters", "max_steps", "epochs", "minutes"}

    def given(*words: object) -> dict[str, object]:
        settings = shell.settings("book.txt", "--kernel", "loop", "--hidden-size", 8, *words)
        return {name: settings[name]["value"] for name in budgets & settings.keys()}

    assert given("--config", "run.toml", "--max-steps", 5) == {"max_steps": 5}
    (project / "p.toml").write_text("max_steps = 7")
    assert given("--preset", "minute", "--config", "p.toml") == {"max_steps": 7}
    assert given("--config", "p.toml", "--preset", "minute", "--epochs", 1) == {"epochs": 1}
    assert given() == {"characters": 2_000_000}


def test_preset_is_weaker_than_file_and_command_line(project: Path, shell: Shell) -> None:
    (project / "p.toml").write_text('preset = "hour"\nhidden_size = 8\nkernel = "loop"')
    settings = shell.settings("book.txt", "--config", "p.toml", "--dropout", 0.1)
    preset = PRESETS["hour"].settings
    assert settings["hidden_size"]["value"] == 8 and settings["dropout"]["value"] == 0.1
    assert settings["seq_len"]["value"] == preset["seq_len"]
    assert settings["seq_len"]["place"] == "preset hour"
    other = shell.settings("book.txt", "--config", "p.toml", "--preset", "minute")
    assert other["embedding_dim"]["place"] == "preset minute"


def test_run_is_remade_from_its_own_settings(project: Path, shell: Shell) -> None:
    shell("train", "--config", "run.toml", "--run", "first", "--seed", 3)
    first = Run("first")
    shown = shell("config", "show", "first")
    assert first.report and f"weights: {first.report.weights_sha256}" in shown
    (project / "again.toml").write_text(shown)
    assert tomllib.loads(shown)["max_steps"] == first.record.max_steps

    shell("train", "--config", "again.toml", "--run", "again")
    again = Run("again")
    assert again.report and again.report.weights_sha256 == first.report.weights_sha256
    other = train("book.txt", "again.toml", "other")
    assert other.report and other.report.weights_sha256 == first.report.weights_sha256

    from_run = shell.settings("--config", "first")
    assert from_run["seed"]["place"] == "first" and from_run["max_steps"]["value"] == 4
    with pytest.raises(CharlmError, match="--seed with a run: .*Try --config first"):
        shell("config", "show", "first", "--seed", 4)


def test_file_of_settings_is_refused_for_existing_runs(project: Path, shell: Shell) -> None:
    (project / "r").mkdir()
    (project / "r" / "run.json").write_text("{}")
    (project / "e.toml").write_text("seeds = 3")
    with pytest.raises(CharlmError, match="cannot use --seeds: it is for runs"):
        shell("compare-cells", "r", "r", "--config", "e.toml")
