"""Tests of the list of runs: states, bits, sizes, order, and its table."""

import shutil
from pathlib import Path

import msgspec
import pytest
from conftest import charlm, make_run

from charlm.errors import InputNotFoundError
from charlm.reporting.terminal import tables
from charlm.reporting.terminal.run_list import print_runs
from charlm.reporting.wording.run_list import describe_state
from charlm.results.run_list import RunList
from charlm.runs.listing import list_runs
from charlm.runs.run import Run
from charlm.storage.lock import exclusive_lock


@pytest.fixture
def directory(trained: Path, book: Path, tmp_path: Path) -> Path:
    """Return a directory with a run in each state."""
    runs = tmp_path / "runs"
    shutil.copytree(trained, runs / "lstm-2")
    shutil.copytree(trained, runs / "cells" / "runs" / "lstm-10")
    stopped = Path(shutil.copytree(trained, runs / "lstm-10"))
    (stopped / "report.json").unlink()
    make_run(runs / "started", book, cell="gru")
    diverged, _, _ = make_run(runs / "diverged", book, cell="rnn")
    diverged.mark_diverged("the loss is nan after step 3")
    make_run(runs / "damaged", book)
    (runs / "damaged" / "run.json").write_text('{"format": 6, "config"')
    shutil.copytree(trained, runs / "old")
    (runs / "old" / "run.json").write_text('{"format": 1}')
    shutil.copytree(trained, runs / "empty")
    shutil.rmtree(runs / "empty" / "checkpoints")
    (runs / "link").symlink_to(trained)
    return runs


def test_every_run_is_listed_with_its_state(directory: Path, trained: Path) -> None:
    listed = list_runs([directory, directory / "lstm-2"])
    by_name = {str(Path(run.path).relative_to(directory)): run for run in listed.runs}
    order = ["cells/runs/lstm-10", "damaged", "diverged", "empty", "lstm-2", "lstm-10", "old"]
    assert list(by_name) == [*order, "started"]
    finished = by_name["lstm-2"]
    report = Run(trained).report
    assert report and report.score
    assert finished.state == "finished" and finished.bits_kind == "test"
    assert finished.bits == report.score.bits_per_char
    assert (finished.cell, finished.text, finished.step) == ("lstm", "book.txt", 60)
    assert finished.parameters == report.parameters
    files = [path for path in (directory / "lstm-2").rglob("*") if path.is_file()]
    assert finished.size == sum(path.stat().st_size for path in files)
    assert finished.modified == max(path.stat().st_mtime for path in files)
    stopped = by_name["lstm-10"]
    assert (stopped.state, stopped.bits_kind) == ("unfinished", "subsampled")
    assert stopped.bits == report.best_valid_bits and stopped.max_steps == 60
    assert describe_state(stopped) == f"stopped, {stopped.step}/60"
    assert by_name["started"].state == "unfinished" and by_name["started"].bits is None
    assert by_name["diverged"].problem == "the loss is nan after step 3"
    assert by_name["old"].state == "incompatible" and by_name["old"].problem == "format 1"
    assert "run.json is damaged" in by_name["damaged"].problem
    assert by_name["empty"].state == "damaged" and by_name["empty"].cell == "lstm"
    (directory / "empty" / "checkpoints").symlink_to(trained / "checkpoints")
    (linked,) = list_runs([directory / "empty"]).runs
    assert linked.state == "link" and "the directory around it may be a link" in linked.problem
    assert describe_state(linked) == "has a link"
    with exclusive_lock(directory / "lstm-10"), exclusive_lock(directory / "lstm-2"):
        states = [list_runs([directory / name]).runs[0].state for name in ("lstm-10", "lstm-2")]
    assert states == ["locked", "finished"]


def test_table_fits_80_columns(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "terminal_width", lambda: 80)
    listed = list_runs([directory])
    # As `charlm runs` shows them from the working directory.
    short = RunList(
        format=listed.format,
        runs=tuple(
            msgspec.structs.replace(run, path=str(Path(run.path).relative_to(directory.parent)))
            for run in listed.runs
        ),
    )
    print_runs(short, max(run.modified for run in listed.runs) + 7200)
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.endswith(" 2 h")]  # a long path takes two lines
    assert len(table) == 8 and max(map(len, lines)) <= 80, lines
    assert any(line.split()[:3] == ["runs/lstm-2", "lstm", "book.txt"] for line in table), lines
    assert any("test finished" in " ".join(line.split()) and line[-1] == "h" for line in table)
    text = "\n".join(lines)
    assert "8 runs, " in text and "valid*: best subsampled" in text and "format 1" in text


def test_listing_needs_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="none: there is no such directory. Try charlm"):
        list_runs([tmp_path / "none"])
    assert list_runs([tmp_path]).runs == ()


def test_command_prints_the_list_as_json(trained: Path) -> None:
    done = charlm("runs", trained.parent, "--json")
    (run,) = msgspec.json.decode(done.stdout, type=RunList).runs
    assert run.state == "finished" and run.path == str(trained)
