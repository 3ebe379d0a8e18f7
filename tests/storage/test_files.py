"""Tests of atomic and durable writes."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.errors import StorageError
from charlm.storage import files


def test_incomplete_line_of_a_log_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntw")
    log = files.AppendOnlyLog(tmp_path / "log")
    log.append(b"three")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"one\ntw\nthree\n"


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_write(descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data[: max(1, len(data) // 3)])

    monkeypatch.setattr(files, "os", SimpleNamespace(**{**vars(os), "write": short_write}))
    files.write_atomic(tmp_path / "x", bytes(range(256)) * 5)
    assert (tmp_path / "x").read_bytes() == bytes(range(256)) * 5


def test_data_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is synced, then its directory, then the rename, then the parent directory."""
    operations: list[tuple[str, str]] = []
    names: dict[int, str] = {}

    def open_(path: Path, *args: Any) -> int:
        descriptor = os.open(path, *args)
        names[descriptor] = Path(path).name.split("-")[0]
        return descriptor

    def fsync(descriptor: int) -> None:
        operations.append(("sync", names[descriptor]))
        os.fsync(descriptor)

    def rename(old: Path, new: Path) -> None:
        operations.append(("rename", Path(new).name))
        os.rename(old, new)

    fakes = {"open": open_, "fsync": fsync, "rename": rename}
    monkeypatch.setattr(files, "os", SimpleNamespace(**{**vars(os), **fakes}))
    parent = ("sync", tmp_path.name.split("-")[0])
    files.write_directory_atomic(tmp_path / "c", {"a": b"1", "b": b"2"})
    assert operations == [
        *(("sync", "a"), ("sync", "b"), ("sync", ".tmp")),
        *(("rename", "c"), parent),
    ]
    operations.clear()
    files.write_atomic(tmp_path / "d", b"3")
    assert operations == [("sync", ".tmp"), ("rename", "d"), parent]
    operations.clear()
    with files.AtomicFileWriter(tmp_path / "e") as writer:
        writer.write(b"4")
        writer.commit()
    assert operations == [("sync", ".tmp"), ("rename", "e"), parent]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError):
        files.AppendOnlyLog(tmp_path / "metrics.jsonl")
    assert (tmp_path / "secret").read_text() == "kept"
