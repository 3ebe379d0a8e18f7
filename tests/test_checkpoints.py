"""Checkpoints: whole or not at all, each byte proven, the newest sound one found."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from conftest import charlm, command, make_run

from charlm.config import FORMAT_VERSION
from charlm.errors import (
    ConfigError,
    DataError,
    InputNotFoundError,
    LockedError,
    OutputExistsError,
    StorageError,
)
from charlm.results.training import FileDigest
from charlm.runs import checkpoint
from charlm.runs.run import Run, check_not_existing
from charlm.storage import files as durable
from charlm.storage.lock import exclusive_lock
from charlm.training.loop import train
from charlm.training.session import restore_trainer


@pytest.fixture
def run(tmp_path: Path, book: Path) -> Run:
    made, corpus, config = make_run(
        tmp_path / "run",
        book,
        hidden_size=3,
        embedding_dim=2,
        batch_size=2,
        max_steps=6,
        eval_every=2,
    )
    model, _ = restore_trainer(made, "cpu", config, print)
    list(train(made, model, corpus))
    return made


def broken(run: Run, path: Path, change: Callable[[bytes], bytes]) -> DataError | None:
    """What loading the last checkpoint says when a file's bytes are changed."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        checkpoint.load_checkpoint(run.checkpoints[max(run.checkpoints)], run.path)
    except DataError as error:
        return error
    finally:
        path.write_bytes(before)
    return None


def files(run: Run) -> list[Path]:
    """Every file that a checkpoint vouches for, and the manifest."""
    last = run.checkpoints[max(run.checkpoints)]
    return [*sorted(last.iterdir()), run.path / "run.json", run.path / "vocabulary.json"]


def test_a_run_is_what_it_says(run: Run) -> None:
    assert [path.name for path in files(run)] == [
        "manifest.json",
        "model.safetensors",
        "progress.json",
        "training.safetensors",
        "run.json",
        "vocabulary.json",
    ]
    assert {path.name for path in run.path.iterdir()} == {
        *("run.json", "vocabulary.json", "metrics.jsonl", "events.jsonl", "checkpoints")
    }
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in lines] == [1, 2, 2, 3, 4, 4, 5, 6, 6]


def test_every_flipped_bit_is_found(run: Run) -> None:
    """Every seventh byte here, each bit in turn; `make faults` flips every bit of every byte."""
    step = int(os.environ.get("CHARLM_FLIP_EVERY", "7"))
    for path in files(run):
        size = path.stat().st_size
        for number, place in enumerate(range(0, size, step)):
            for bit in range(8) if step == 1 else [number % 8]:

                def flip(data: bytes, place: int = place, bit: int = bit) -> bytes:
                    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]

                assert broken(run, path, flip), f"{path.name} byte {place} bit {bit}"


def test_every_truncation_and_every_longer_file_is_found(run: Run) -> None:
    for path in files(run):
        for length in range(0, path.stat().st_size, 97):
            assert broken(run, path, lambda data, n=length: data[:n]), path.name
        assert broken(run, path, lambda data: data + b" "), path.name


def test_damage_is_said_with_its_place_and_the_newest_sound_one_is_used(run: Run) -> None:
    said: list[str] = []
    assert run.load_checkpoint("last", said.append).progress.step == 6 and not said
    updates = list(run.checkpoints)
    (run.checkpoints[6] / "model.safetensors").write_bytes(b"junk")
    found = run.load_checkpoint("last", said.append)
    assert found.progress.step == updates[-2]
    assert "step-00000006/model.safetensors is damaged" in said[0]
    assert f"going on with update {updates[-2]}" in said[0]
    assert run.load_checkpoint("best", said.append).progress.step in updates[:-1]
    for path in run.checkpoints.values():
        (path / "manifest.json").unlink()
    with pytest.raises(DataError, match="no other checkpoint is sound"):
        run.load_checkpoint("best", said.append)


def test_files_of_two_checkpoints_cannot_be_mixed(run: Run) -> None:
    older, newer = list(run.checkpoints.values())[-2:]
    shutil.copy(older / "training.safetensors", newer / "training.safetensors")
    with pytest.raises(DataError, match="training.safetensors is damaged"):
        checkpoint.load_checkpoint(newer, run.path)
    shutil.copytree(older, older.parent / "step-00000099")
    with pytest.raises(DataError, match="manifest.json is damaged"):
        checkpoint.load_checkpoint(older.parent / "step-00000099", run.path)


def test_a_manifest_names_its_files_and_no_others(run: Run) -> None:
    path = run.checkpoints[6]
    true = (path / "manifest.json").read_bytes()

    for change in ({}, {"../../secret": {"bytes": 0, "sha256": ""}}):
        manifest = msgspec.json.decode(true, type=checkpoint.Manifest)
        stored = msgspec.convert(change, dict[str, FileDigest])
        forged = msgspec.structs.replace(manifest, files=stored)
        (path / "manifest.json").write_bytes(forged.canonical_bytes())
        with pytest.raises(DataError, match="does not name the files"):
            checkpoint.load_checkpoint(path, run.path)


def test_the_best_and_the_last_two_are_kept(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus, config = make_run(
        tmp_path / "r", book, max_steps=12, eval_every=1, save_every=1e-9
    )
    bits = [5.0, 4.0, 3.5, 4.5, 3.0, 3.0, 3.25, 4.0, 5.0, 3.5, 6.0, 4.0]
    looks = iter(bits)
    monkeypatch.setattr("charlm.train.quick_bits", lambda *_: next(looks))
    model, _ = restore_trainer(run, "cpu", config, print)
    list(train(run, model, corpus))
    assert set(run.checkpoints) == {5, 11, 12}  # the first of two equally good ones
    assert run.load_checkpoint("best", print).progress.valid_bits == 3.0
    assert run.load_checkpoint("last", print).progress.step == 12


def test_a_checkpoint_of_other_settings_is_refused(run: Run, tmp_path: Path, book: Path) -> None:
    other, _, _ = make_run(tmp_path / "other", book, hidden_size=4)
    shutil.copytree(run.path / "checkpoints", other.path / "checkpoints", dirs_exist_ok=True)
    with pytest.raises(DataError, match="run.json is damaged"):
        other.load_checkpoint("last", print)


def test_a_run_of_another_format_names_the_way_out(run: Run) -> None:
    path = run.path / "run.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT_VERSION}', '"format": 99'))
    with pytest.raises(
        ConfigError, match=f"has format 99, and this charlm reads format {FORMAT_VERSION}"
    ):
        Run(run.path)


@pytest.mark.parametrize("symbols", ["[97, 97]", "[55296]", "[-1]", "[1114112]", '["a"]'])
def test_an_alphabet_that_is_none_is_damage(run: Run, symbols: str) -> None:
    path = run.path / "vocabulary.json"
    path.write_text(f'{{"kind": "chars", "tokens": {symbols}}}')
    with pytest.raises(DataError, match="vocabulary.json is damaged"):
        Run(run.path)


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntw")
    log = durable.AppendOnlyLog(tmp_path / "log")
    log.append(b"three")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"one\ntw\nthree\n"


def test_what_is_no_run_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="there is no run"):
        Run(tmp_path / "none")
    with pytest.raises(InputNotFoundError, match="is not a run"):
        Run(tmp_path)


def test_a_run_is_not_overwritten_but_a_killed_beginning_is(tmp_path: Path, run: Run) -> None:
    with pytest.raises(OutputExistsError, match="continue it with --resume"):
        check_not_existing(run.path)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "vocabulary.json").touch()
    (tmp_path / "begun" / ".tmp-run.json-1-0123abcd").touch()
    check_not_existing(tmp_path / "begun")
    check_not_existing(tmp_path / "nothing")


# writing


class Faulty(SimpleNamespace):
    """The os module, whose nth operation on a file fails."""

    CALLS = ("open", "write", "fsync", "close", "rename", "mkdir", "fstat")

    def __init__(self, fail_at: int, error: int) -> None:
        super().__init__(**vars(os))
        self.count, self.fail_at, self.error = 0, fail_at, error
        for name in self.CALLS:
            setattr(self, name, self._counted(name))

    def _counted(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*words: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self.fail_at:
                if name == "close":
                    real(*words)  # a close that fails has closed
                raise OSError(self.error, os.strerror(self.error))
            return real(*words, **named)

        return call


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])
def test_a_disk_that_fails_at_any_operation_loses_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """SQLite's way: fail the 1st, the 2nd, the 3rd … until a save gets through."""
    before = run.load_checkpoint("last", print)
    progress = checkpoint.msgspec.structs.replace(before.progress, update=7)
    for nth in range(1, 200):
        faulty = Faulty(nth, error)
        with monkeypatch.context() as patched:
            patched.setattr(durable, "os", faulty)
            try:
                run.save(progress, before.tensors)
                failed = False
            except StorageError as failure:
                failed = True
                assert "Mend that, then run the same command again" in str(failure)
        assert not list((run.path / "checkpoints").glob(".tmp-*")), f"left after {nth}"
        assert run.load_checkpoint("last", pytest.fail).progress.step in ({6, 7} if failed else {7})
        if not failed:
            assert nth > 15
            return
        if 7 in run.checkpoints:
            durable.remove(run.checkpoints[7])
    pytest.fail("no save ever got through")


def test_a_disk_that_takes_less_than_it_is_given_is_given_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data[: max(1, len(data) // 3)])

    monkeypatch.setattr(durable, "os", SimpleNamespace(**{**vars(os), "write": short}))
    durable.write_atomic(tmp_path / "x", bytes(range(256)) * 5)
    assert (tmp_path / "x").read_bytes() == bytes(range(256)) * 5


def test_everything_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file synced, then its directory, then the rename, then the directory of the name."""
    happened: list[tuple[str, str]] = []
    names: dict[int, str] = {}

    def opened(path: Path, *words: Any) -> int:
        descriptor = os.open(path, *words)
        names[descriptor] = Path(path).name.split("-")[0]
        return descriptor

    def synced(descriptor: int) -> None:
        happened.append(("sync", names[descriptor]))
        os.fsync(descriptor)

    def renamed(old: Path, new: Path) -> None:
        happened.append(("rename", Path(new).name))
        os.rename(old, new)

    faked = {"open": opened, "fsync": synced, "rename": renamed}
    monkeypatch.setattr(durable, "os", SimpleNamespace(**{**vars(os), **faked}))
    place = ("sync", tmp_path.name.split("-")[0])
    durable.write_directory_atomic(tmp_path / "c", {"a": b"1", "b": b"2"})
    assert happened == [
        *(("sync", "a"), ("sync", "b"), ("sync", ".tmp")),
        *(("rename", "c"), place),
    ]
    happened.clear()
    durable.write_atomic(tmp_path / "d", b"3")
    assert happened == [("sync", ".tmp"), ("rename", "d"), place]
    happened.clear()
    with durable.AtomicFileWriter(tmp_path / "e") as growing:
        growing.write(b"4")
        growing.commit()
    assert happened == [("sync", ".tmp"), ("rename", "e"), place]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError):
        durable.AppendOnlyLog(tmp_path / "metrics.jsonl")
    assert (tmp_path / "secret").read_text() == "kept"


# one writer; a real kill


def test_a_directory_that_is_no_run_is_left_as_it_is(tmp_path: Path, book: Path) -> None:
    (tmp_path / "home" / ".tmp-precious").mkdir(parents=True)
    (tmp_path / "home" / "lock").write_text("mine")
    (tmp_path / "home" / "runs").mkdir()
    for words in (["train", book, "--run"], ["train", book, "--resume", "--run"]):
        assert charlm(*words, tmp_path / "home").returncode == 73
    assert charlm("compare-cells", book, "--out", tmp_path / "home").returncode == 73
    assert (tmp_path / "home" / "lock").read_text() == "mine"
    with exclusive_lock(tmp_path / "home"):  # even whoever writes there sweeps only what is ours
        (tmp_path / "home" / ".tmp-x-1-0123abcd").touch()
    with exclusive_lock(tmp_path / "home"):
        left = {path.name for path in (tmp_path / "home").iterdir()}
    assert left == {".tmp-precious", "lock", "runs"}


def test_a_start_that_failed_leaves_nothing(tmp_path: Path) -> None:
    assert charlm("train", tmp_path / "none.txt", "--run", tmp_path / "r").returncode == 66
    assert not (tmp_path / "r").exists()


def test_a_checkpoint_vouches_for_what_the_run_began_with(run: Run) -> None:
    found = run.load_checkpoint("last", print)
    text = (run.path / "run.json").read_text()
    (run.path / "run.json").write_text(text.replace('"seed": 0', '"seed": 7'))
    run.save(found.progress, found.tensors)
    with pytest.raises(DataError, match="run.json is damaged"):
        Run(run.path).load_checkpoint("last", print)


def test_a_second_writer_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path / "r"),
        pytest.raises(LockedError, match=f"process {os.getpid()} on "),
        exclusive_lock(tmp_path / "r"),
    ):
        pass
    with exclusive_lock(tmp_path / "r"):
        second = charlm("train", "--run", tmp_path / "r", "--resume")
    assert second.returncode == 75 and b"is being written by another" in second.stderr


def training(path: Path, text: Path) -> "subprocess.Popen[bytes]":
    words = [
        "--hidden-size",
        32,
        "--max-steps",
        1500,
        "--batch-size",
        8,
        "--seq-len",
        32,
        "--dropout",
        0.2,
    ]
    words += ["--eval-every", 100, "--log-every", 0.05, "--run", path, "--resume"]
    return subprocess.Popen(
        command("train", text, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def until(path: Path, lines: int) -> None:
    """Wait until a run has logged so many lines."""
    for _ in range(1200):
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never had {lines} lines")


def test_kills_and_signals_of_the_real_program(tmp_path: Path, book: Path) -> None:
    """SIGKILL, SIGTERM, SIGINT, each in mid-run: the resumed run ends in the same bytes."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    process = training(whole, book)
    process.communicate(timeout=300)
    assert process.returncode == 0
    for number, lines in (
        (signal.SIGKILL, 300),
        (signal.SIGTERM, 600),
        (signal.SIGINT, 900),
    ):
        process = training(halves, book)
        until(halves / "metrics.jsonl", lines)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), err
        assert out == b""
        if number != signal.SIGKILL:
            assert f"charlm train --run {halves} --resume".encode() in err.splitlines()[-1]
    done = charlm("train", "--run", halves, "--resume")
    assert done.returncode == 0, done.stderr
    for name in ("metrics.jsonl", "checkpoints/step-00001500/model.safetensors"):
        assert (whole / name).read_bytes() == (halves / name).read_bytes(), name
    samples = [charlm("sample", path, "--length", 50).stdout for path in (whole, halves)]
    assert samples[0] == samples[1] and len(samples[0]) == 50
    again = charlm("train", "--run", halves, "--resume", "--json")
    assert b"is finished" in again.stderr and json.loads(again.stdout)["max_steps"] == 1500


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, book: Path) -> None:
    """A limit on the size of files stands for a disk that is full: the real program meets it."""

    words = [
        "--hidden-size",
        8,
        "--embedding-dim",
        4,
        "--batch-size",
        4,
        "--seq-len",
        16,
        "--run",
        tmp_path / "r",
    ]
    first = charlm("train", book, *words, "--max-steps", 1, "--resume")
    assert first.returncode == 0, first.stderr

    def tight() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    words[-1] = tmp_path / "full"
    full = charlm("train", book, *words, "--max-steps", 30, preexec_fn=tight)
    assert full.returncode == 74, full.stderr
    last = full.stderr.decode().splitlines()[-1]
    assert last.startswith("charlm: cannot write") and "MB are free there" in last
    assert not list((tmp_path / "full" / "checkpoints").iterdir())
    done = charlm("train", "--run", tmp_path / "full", "--resume")
    assert done.returncode == 0, done.stderr
