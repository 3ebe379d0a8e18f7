"""Tests of atomic and durable writes."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charlm.errors import DataError, OutputExistsError, StorageError
from charlm.storage import directories, files
from charlm.storage.append_only_log import AppendOnlyLog


def replace_os(monkeypatch: pytest.MonkeyPatch, functions: Mapping[str, Any]) -> None:
    """Replace functions of `os` where files and directories are written."""
    fake = SimpleNamespace(**{**vars(os), **functions})
    for module in (files, directories):
        monkeypatch.setattr(module, "os", fake)


def test_incomplete_line_of_a_log_is_removed(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntw")
    log = AppendOnlyLog(tmp_path / "log")
    log.append(b'{"three":3}')
    log.close()
    assert (tmp_path / "log").read_bytes() == b'one\n{"three":3,"crc32":"d86956f5"}\n'


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_write(descriptor: int, data: memoryview) -> int:
        return os.write(descriptor, data[: max(1, len(data) // 3)])

    replace_os(monkeypatch, {"write": short_write})
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

    def link(old: Path, new: Path) -> None:
        operations.append(("link", Path(new).name))
        os.link(old, new)

    fakes = {"open": open_, "fsync": fsync, "rename": rename, "link": link}
    replace_os(monkeypatch, fakes)
    parent = ("sync", tmp_path.name.split("-")[0])
    directories.write_directory_atomic(tmp_path / "c", {"a": b"1", "b": b"2"})
    assert operations == [
        *(("sync", "a"), ("sync", "b"), ("sync", ".tmp")),
        *(("rename", "c"), parent),
    ]
    operations.clear()
    files.write_atomic(tmp_path / "d", b"3")
    assert operations == [("sync", ".tmp"), ("rename", "d"), parent]
    for replace, operation in ((False, "link"), (True, "rename")):
        operations.clear()
        with files.AtomicFileWriter(tmp_path / "e", replace=replace) as writer:
            writer.write(b"4")
            writer.commit()
        assert operations == [("sync", ".tmp"), (operation, "e"), parent]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kept")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="it is a symbolic link"):
        AppendOnlyLog(tmp_path / "metrics.jsonl")
    assert (tmp_path / "secret").read_text() == "kept"


def occupy(path: Path, kind: str) -> None:
    """Let a file, a full directory or a link to nothing appear here."""
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
        (path / "mine").write_text("mine")


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
@pytest.mark.parametrize("has_links", [True, False])
def test_output_that_appears_meanwhile_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, has_links: bool
) -> None:
    """Also between the last check and the name: the check of the directory is skipped here."""
    target = tmp_path / "out"

    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    fakes = {} if has_links else {"link": no_link}
    replace_os(monkeypatch, fakes)
    with files.AtomicFileWriter(target) as writer:
        writer.write(b"new")
        occupy(target, kind)
        with pytest.raises(OutputExistsError, match="out: it exists. Try another path"):
            writer.commit()
    with pytest.raises(OutputExistsError):
        files.write_new(target, b"new")
    path = SimpleNamespace(lexists=lambda _: False)
    if has_links:
        replace_os(monkeypatch, {"path": path})
    with pytest.raises(OutputExistsError, match="it exists"):
        directories.write_directory_atomic(target, {"a": b"new"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    if kind == "directory":
        assert [entry.name for entry in target.iterdir()] == ["mine"]
    else:
        assert target.is_symlink() or target.read_text() == "mine"


def test_new_files_need_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    replace_os(monkeypatch, {"link": no_link})
    files.write_new(tmp_path / "new", b"1")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]


def test_only_checkpoints_replace_a_directory(tmp_path: Path) -> None:
    directories.write_directory_atomic(tmp_path / "d", {"a": b"1"})
    directories.write_directory_atomic(tmp_path / "d", {"b": b"2"}, replace=True)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["b"]


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    files.check_new(tmp_path / "missing" / "deep" / "new")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(OutputExistsError, match=f"{name}: it exists. Try another --out"):
            files.check_new(tmp_path / name, "--out")
    with pytest.raises(StorageError, match="file: it is not a directory. Try another path"):
        files.check_new(tmp_path / "file" / "new")
    assert not (tmp_path / "missing").exists()


def break_operation(monkeypatch: pytest.MonkeyPatch, number: int, *, for_good: bool) -> list[str]:
    """Let the n-th operation that writes fail, or all from there on; return their names so far."""
    names: list[str] = []

    def breaking(name: str) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            names.append(name)
            if name == "close":
                os.close(*arguments)
            if len(names) - 1 == number or (for_good and len(names) > number):
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            return None if name == "close" else getattr(os, name)(*arguments, **named)

        return operation

    broken = ("mkdir", "open", "write", "fsync", "close", "rename", "link")
    replace_os(monkeypatch, {name: breaking(name) for name in broken})
    return names


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("kind", ["file", "directory", "replaced directory"])
def test_nothing_is_left_of_a_write_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, for_good: bool
) -> None:
    """Whichever of its operations fails: so the same command can be run again."""

    def write(path: Path) -> None:
        if kind == "file":
            files.write_new(path, b"new")
        else:
            contents = {"a": b"new", "b/c": b"new"}
            replace = kind == "replaced directory"
            directories.write_directory_atomic(path, contents, replace=replace)

    for number in range(100):
        path = tmp_path / str(number) / "out"
        path.parent.mkdir()
        if kind == "replaced directory":
            path.mkdir()
        with monkeypatch.context() as patch:
            names = break_operation(patch, number, for_good=for_good)
            try:
                write(path)
            except StorageError as error:
                assert "out: Disk quota exceeded" in str(error)
            else:
                break
        left = [entry.name for entry in path.parent.iterdir()]
        assert left in ([], ["out"] * (kind == "replaced directory")), (number, names)
        write(path)
    assert number == len(names) >= 6 and path.exists()
