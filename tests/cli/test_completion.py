"""Tests of shell completion: names, runs and files, in every shell, without PyTorch."""

import subprocess
from pathlib import Path

import pytest
from conftest import charlm, command

from charlm.cells.names import CELL_NAMES
from charlm.cli import completion
from charlm.cli.main import run_command
from charlm.data.catalog import corpus_names
from charlm.probes.base import PROBES
from charlm.tasks.base import TASKS


def complete(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> set[str]:
    """Return what bash offers for the last word of a line."""
    monkeypatch.setenv("_CHARLM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert run_command() == 0
    return set(capsys.readouterr().out.split())


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for run in ("runs/first", "runs/second", "cells/runs/gru-s0", ".hidden/run"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "run.json").write_text("{}")
    (tmp_path / "python.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_name_is_completed(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offered(line: str) -> set[str]:
        return complete(line, monkeypatch, capsys)

    assert offered("charlm tra") == {"train"}
    assert {"cells", "compare-cells"} <= offered("charlm c")
    assert offered("charlm train --lr") == {"--lr", "--lr-schedule"}
    assert offered("charlm train --cell ") == set(CELL_NAMES) == offered("charlm cells show ")
    assert offered("charlm train --lr-schedule ") == {"wsd", "linear", "cosine"}
    assert offered("charlm train --kernel ") == {"auto", "compiled", "loop", "native", "scan"}
    assert offered("charlm compare-cells --match t") == {"time"}
    assert offered("charlm compare-cells --cells gru,ls") == {"gru,lstm"}
    assert offered("charlm probe x --probes ") == set(PROBES)
    assert offered("charlm tasks show ") == set(TASKS)
    assert offered("charlm train python") == {
        *[n for n in corpus_names() if n[:6] == "python"],
        "python.txt",
    }
    for words in ("sample", "eval", "inspect", "probe", "train --resume"):
        assert offered(f"charlm {words} ru") == {"runs/first", "runs/second"}, words
    assert offered("charlm sample ") == {"runs/first", "runs/second", "cells/runs/gru-s0"}
    assert offered(f"charlm sample {directory}/runs/f") == {f"{directory}/runs/first"}
    assert offered("charlm corpora get ") == set(corpus_names())
    assert offered("charlm sample nothing") == set()


def test_search_for_runs_is_bounded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(completion.find_runs("")) >= {"runs/first", "runs/second"}
    monkeypatch.setattr(completion, "MAX_DIRECTORIES", 1)
    assert set(completion.find_runs("")) == set()
    assert completion.complete_path("no-such/") == []


def test_shells_get_their_form_and_their_exit_code(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(shell: str, line: str, fish_action: str = "") -> tuple[int, str]:
        monkeypatch.setenv("_CHARLM_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", fish_action)
        done = charlm()
        assert done.stderr == b""
        return done.returncode, done.stdout.decode()

    code, shown = ask("zsh", "charlm train --")
    assert code == 0 and '"--hidden-size":"Units per layer.' in shown
    assert ask("fish", "charlm eval ru", "is-args")[0] == 0
    assert ask("fish", "charlm eval nothing", "is-args")[0] == 1
    assert ask("fish", "charlm eval ru", "get-args")[1].split() == ["runs/first", "runs/second"]


def test_completion_can_be_installed() -> None:
    script = " ".join(command("--show-completion"))
    done = subprocess.run(["bash", "-c", f"{script}; true"], capture_output=True, check=True)
    assert b"complete -o default -F _charlm_completion charlm" in done.stdout
