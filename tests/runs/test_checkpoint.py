"""Tests of checkpoints: atomic, every byte verified, the newest intact one is found."""

import errno
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from conftest import make_run

from charlm.errors import DataError, InsufficientMemoryError, StorageError
from charlm.results.training import FileDigest, Manifest
from charlm.runs import checkpoint
from charlm.runs.run import Run
from charlm.storage import directories, files
from charlm.training import loop
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop

SIZES = {"hidden_size": 3, "embedding_dim": 2, "batch_size": 2, "max_steps": 6, "eval_every": 2}


@pytest.fixture
def run(tmp_path: Path, book: Path) -> Run:
    run, corpus, config = make_run(tmp_path / "run", book, **SIZES)
    trainer, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, trainer, corpus))
    return run


def load_error(run: Run, path: Path, change: Callable[[bytes], bytes]) -> DataError | None:
    """Return the error of loading the last checkpoint while a file is changed."""
    original = path.read_bytes()
    path.write_bytes(change(original))
    try:
        checkpoint.load_checkpoint(run.checkpoints[max(run.checkpoints)], run.path)
    except DataError as error:
        return error
    finally:
        path.write_bytes(original)
    return None


def verified_files(run: Run) -> list[Path]:
    """Return every file that the last checkpoint verifies, and its manifest."""
    last = run.checkpoints[max(run.checkpoints)]
    return [*sorted(last.iterdir()), run.path / "run.json", run.path / "vocabulary.json"]


def test_run_and_checkpoint_have_the_documented_files(run: Run) -> None:
    assert [path.name for path in verified_files(run)] == [
        "manifest.json",
        "model.safetensors",
        "progress.json",
        "training.safetensors",
        "run.json",
        "vocabulary.json",
    ]
    assert {path.name for path in run.path.iterdir()} == {
        *("run.json", "vocabulary.json", "metrics.jsonl", "events.jsonl", "checkpoints"),
        "before-decay",
    }
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 2, 3, 4, 4, 5, 6, 6]


def test_every_flipped_bit_is_found(run: Run) -> None:
    """Every seventh byte, each bit in turn; `make faults` flips every bit of every byte."""
    for path in verified_files(run):
        for number, position in enumerate(range(0, path.stat().st_size, 7)):

            def flip(data: bytes, at: int = position, bit: int = number % 8) -> bytes:
                return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]

            assert load_error(run, path, flip), f"{path.name} byte {position} bit {number % 8}"


def test_every_truncated_or_longer_file_is_found(run: Run) -> None:
    for path in verified_files(run):
        for length in range(0, path.stat().st_size, 97):
            assert load_error(run, path, lambda data, n=length: data[:n]), path.name
        assert load_error(run, path, lambda data: data + b" "), path.name


def test_newest_intact_checkpoint_replaces_a_damaged_one(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run.load_checkpoint("last").progress.step == 6 and not caplog.messages
    steps = list(run.checkpoints)
    (run.checkpoints[6] / "model.safetensors").write_bytes(b"junk")
    assert run.load_checkpoint("last").progress.step == steps[-2]
    assert "step-00000006/model.safetensors is damaged" in caplog.messages[0]
    assert f"using step {steps[-2]} instead" in caplog.messages[0]
    assert run.load_checkpoint("best").progress.step in steps[:-1]
    for path in run.checkpoints.values():
        (path / "manifest.json").unlink()
    with pytest.raises(DataError, match="no other checkpoint is intact"):
        run.load_checkpoint("best")


def test_files_of_two_checkpoints_cannot_be_mixed(run: Run) -> None:
    older, newer = list(run.checkpoints.values())[-2:]
    shutil.copy(older / "training.safetensors", newer / "training.safetensors")
    with pytest.raises(DataError, match="training.safetensors is damaged"):
        checkpoint.load_checkpoint(newer, run.path)
    shutil.copytree(older, older.parent / "step-00000099")
    with pytest.raises(DataError, match="manifest.json is damaged"):
        checkpoint.load_checkpoint(older.parent / "step-00000099", run.path)


def test_manifest_lists_its_files_and_no_others(run: Run) -> None:
    path = run.checkpoints[6]
    original = (path / "manifest.json").read_bytes()
    for change in ({}, {"../../secret": {"size": 0, "sha256": 64 * "0"}}):
        manifest = msgspec.json.decode(original, type=Manifest)
        digests = msgspec.convert(change, dict[str, FileDigest])
        forged = msgspec.structs.replace(manifest, files=digests)
        (path / "manifest.json").write_bytes(forged.canonical_bytes())
        with pytest.raises(DataError, match="does not list the files"):
            checkpoint.load_checkpoint(path, run.path)


def test_checkpoint_of_unknown_tensors_is_loaded_if_it_matches_and_fits(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one of a custom cell whose file was not executed."""
    path = run.checkpoints[6]
    assert checkpoint.load_checkpoint(path, run.path).progress.step == 6
    manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=Manifest)
    with (path / "model.safetensors").open("ab") as file:
        file.truncate(2**25)  # a hole: it takes no space on the disk
    digests = {**manifest.files, "model.safetensors": FileDigest(2**25, 64 * "0")}
    forged = msgspec.structs.replace(manifest, files=digests)
    (path / "manifest.json").write_bytes(forged.canonical_bytes())
    tracemalloc.start()
    with pytest.raises(DataError, match="SHA-256"):
        checkpoint.load_checkpoint(path, run.path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23
    monkeypatch.setattr(checkpoint, "available_memory", lambda _: 2**25)
    with pytest.raises(InsufficientMemoryError, match="cannot load"):
        checkpoint.load_checkpoint(path, run.path)


def test_best_and_last_two_checkpoints_are_kept(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 12, "eval_every": 1, "save_every": 1e-9}
    run, corpus, config = make_run(tmp_path / "r", book, **settings)
    bits = iter([5.0, 4.0, 3.5, 4.5, 3.0, 3.0, 3.25, 4.0, 5.0, 3.5, 6.0, 4.0])
    monkeypatch.setattr(loop, "validation_bpc", lambda *_: next(bits))
    trainer, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, trainer, corpus))
    assert set(run.checkpoints) == {5, 11, 12}  # the first of two equally good ones
    assert run.load_checkpoint("best").progress.valid_bits == 3.0
    assert run.load_checkpoint("last").progress.step == 12


def test_checkpoint_of_other_settings_is_refused(run: Run, tmp_path: Path, book: Path) -> None:
    other, _, _ = make_run(tmp_path / "other", book, hidden_size=4)
    shutil.copytree(run.path / "checkpoints", other.path / "checkpoints", dirs_exist_ok=True)
    with pytest.raises(DataError, match="run.json is damaged"):
        other.load_checkpoint("last")


def test_checkpoint_verifies_the_record_of_its_run(run: Run) -> None:
    last = run.load_checkpoint("last")
    text = (run.path / "run.json").read_text()
    (run.path / "run.json").write_text(text.replace('"seed": 0', '"seed": 7'))
    run.save_checkpoint(last.progress, last.tensors)
    with pytest.raises(DataError, match="run.json is damaged"):
        Run(run.path).load_checkpoint("last")


class FaultyOs(SimpleNamespace):
    """The os module, whose nth operation on a file fails."""

    CALLS = ("open", "write", "fsync", "close", "rename", "mkdir", "fstat")

    def __init__(self, fail_at: int, error: int) -> None:
        super().__init__(**vars(os))
        self.count, self.fail_at, self.error = 0, fail_at, error
        for name in self.CALLS:
            setattr(self, name, self._counted(name))

    def _counted(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.fail_at:
                if name == "close":
                    real(*args)  # a close that fails has closed
                raise OSError(self.error, os.strerror(self.error))
            return real(*args, **options)

        return call


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])
def test_failed_disk_operation_loses_no_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    """As SQLite's tests: fail the 1st, 2nd, 3rd ... operation until saving succeeds."""
    before = run.load_checkpoint("last")
    run.record = msgspec.structs.replace(run.record, max_steps=7)
    progress = msgspec.structs.replace(before.progress, step=7)
    for nth in range(1, 200):
        faulty = FaultyOs(nth, error)
        with monkeypatch.context() as patch:
            for module in (files, directories):
                patch.setattr(module, "os", faulty)
            try:
                run.save_checkpoint(progress, before.tensors)
                failed = False
            except StorageError as failure:
                failed = True
                assert "Fix that, then run the same command again" in str(failure)
        assert not list((run.path / "checkpoints").glob(".tmp-*")), f"left after {nth}"
        assert run.load_checkpoint("last").progress.step in ({6, 7} if failed else {7})
        assert not caplog.messages
        if not failed:
            assert nth > 15
            return
        if 7 in run.checkpoints:
            directories.remove(run.checkpoints[7])
    pytest.fail("saving never succeeded")
