"""Tests of runs that a stranger wrote: links and special files are neither read nor removed."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import charlm

from charlm.data.corpus import Corpus
from charlm.errors import DataError, StorageError
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.listing import list_runs
from charlm.runs.run import Run
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop


@pytest.fixture
def run(stopped_run: Run) -> Run:
    return stopped_run


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["checkpoints", "before-decay", "step"])
def test_links_among_checkpoints_are_refused_and_nothing_there_is_removed(
    run: Run, tmp_path: Path, name: str
) -> None:
    """The files that they refer to may be another run's."""
    other = tmp_path / "other"
    shutil.copytree(run.path, other)
    shutil.copytree(other / "checkpoints" / run.checkpoints[5].name, other / "step-00009999")
    for folder in ("checkpoints", "before-decay"):
        (other / folder).mkdir(exist_ok=True)
        shutil.copytree(run.checkpoints[5], other / folder / "step-00009999")
        (other / folder / ".tmp-x-1-00000000").mkdir()
    before = snapshot(other)
    target = run.checkpoints[5] if name == "step" else run.path / name
    shutil.rmtree(target, ignore_errors=True)
    target.symlink_to(other / "step-00009999" if name == "step" else other / name)
    done = charlm("train", "--resume", run.path)
    assert done.returncode == 65, done.stderr
    assert b"is a symbolic link" in done.stderr and b"Traceback" not in done.stderr
    assert snapshot(other) == before and (other / "checkpoints/.tmp-x-1-00000000").exists()
    if name != "before-decay":
        with pytest.raises(DataError, match="is a symbolic link"):
            run.load_checkpoint("best")


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOMEM])
def test_failed_read_removes_no_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    before = snapshot(run.path)
    newest = str(max(run.checkpoints.values()))
    real = os.open

    def fail(path: Any, *args: Any, **options: Any) -> int:
        if str(path).startswith(newest):
            raise OSError(code, os.strerror(code))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match="Nothing was changed"):
        restore_trainer(run, "cpu", run.record.config)
    monkeypatch.undo()
    assert snapshot(run.path) == before
    trainer, _ = restore_trainer(run, "cpu", run.record.config)
    assert trainer.step == 5


def test_damaged_checkpoint_is_set_aside_until_the_run_has_finished(
    run: Run, stopped: tuple[Path, Corpus], caplog: pytest.LogCaptureFixture
) -> None:
    newest = run.checkpoints[5]
    (newest / "model.safetensors").write_bytes(b"junk")
    trainer, length = restore_trainer(run, "cpu", run.record.config)
    assert trainer.step == 4 and not newest.exists()
    aside = newest.with_name("damaged-step-00000005")
    assert (aside / "model.safetensors").read_bytes() == b"junk" and str(aside) in caplog.text
    list(run_training_loop(run, trainer, stopped[1], length))
    assert max(run.checkpoints) == 6 and aside.exists()
    run.keep_best_weights_alone()
    assert not aside.exists() and len(run.checkpoints) == 1


def test_checkpoint_that_is_pruned_while_it_is_read_is_no_damage(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The list is read anew, and what has appeared meanwhile is used."""
    hidden = run.path / "hidden"
    run.checkpoints[5].rename(hidden)
    expected = run.checkpoints[4]
    real = load_checkpoint

    def prune(path: Path, *args: Any, **options: Any) -> Any:
        if path == expected and hidden.exists():
            hidden.rename(path.with_name("step-00000005"))
            shutil.rmtree(path)
        return real(path, *args, **options)

    monkeypatch.setattr("charlm.runs.checkpoint_reader.load_checkpoint", prune)
    assert run.load_checkpoint("last").progress.step == 5 and not caplog.messages


@pytest.mark.parametrize("name", ["run.json", "vocabulary.json", "manifest.json", "progress.json"])
@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "zero"])
def test_only_regular_files_are_read(run: Run, tmp_path: Path, name: str, kind: str) -> None:
    for path in [*run.path.glob(name), *run.path.glob(f"checkpoints/*/{name}")]:
        content = path.read_bytes()
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "directory":
            path.mkdir()
        else:
            (tmp_path / f"real-{path.parent.name}").write_bytes(content)
            path.symlink_to(tmp_path / f"real-{path.parent.name}")
    with pytest.raises(DataError, match="it is a |is damaged|no other"):
        Run(run.path).load_checkpoint("last")
    if kind != "directory":
        assert list_runs([tmp_path]).runs[0].state in ("damaged", "link", "unfinished")


def test_listing_goes_on_past_runs_that_cannot_be_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bad", "worse"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "run.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "worse" / "run.json")
    shutil.copytree(run.path, tmp_path / "unreadable")
    real = os.open

    def fail(path: Any, *args: Any, **options: Any) -> int:
        if "unreadable" in str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", fail)
    states = {Path(listed.path).name: listed.state for listed in list_runs([tmp_path]).runs}
    assert states == {
        "bad": "link",
        "worse": "damaged",
        "unreadable": "damaged",
        "run": "unfinished",
    }
