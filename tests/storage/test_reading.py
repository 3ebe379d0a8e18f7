"""Tests of reading: bounded memory, files that others append to or remove, regular files alone."""

import errno
import os
import tracemalloc
from pathlib import Path

import pytest

from charlm.errors import DataError
from charlm.storage.append_only_log import AppendOnlyLog, seal_line
from charlm.storage.reading import (
    MissingFileError,
    iter_lines,
    list_names,
    path_exists,
    read_regular_file,
)


def test_file_takes_its_size_and_not_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"ab")
    tracemalloc.start()
    assert read_regular_file(path, 2**31) == b"ab"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_nothing_follows_a_line_that_was_being_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\nsec")
    lines = []
    for line in iter_lines(path, 100):
        lines.append(line)
        with path.open("ab") as file:
            file.write(b"ond\n" if line == b"sec" else b"")
    assert lines == [b"first\n", b"sec"]


def test_stale_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So network file systems call one that another machine has removed."""

    def fail(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "lstat", fail)
    monkeypatch.setattr(os, "listdir", fail)
    assert not path_exists(tmp_path)
    for read in (read_regular_file, list_names):
        with pytest.raises(MissingFileError):
            read(tmp_path / "x")


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_log_is_a_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events.jsonl"
    (tmp_path / "real").write_bytes(seal_line(b'{"a":1}'))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("real")
    else:
        path.mkdir()
    with pytest.raises(DataError, match=r"events.jsonl: it is .*\. "):
        AppendOnlyLog(path)
