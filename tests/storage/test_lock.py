"""Tests of the lock of a directory."""

import errno
import os
from pathlib import Path

import pytest
from conftest import charlm

from charlm.errors import LockedError
from charlm.storage.files import make_directory
from charlm.storage.lock import exclusive_lock


@pytest.mark.slow
def test_second_writer_is_refused_with_the_name_of_the_first(tmp_path: Path, book: Path) -> None:
    with (
        exclusive_lock(tmp_path / "r"),
        pytest.raises(LockedError, match=f"process {os.getpid()} on "),
        exclusive_lock(tmp_path / "r"),
    ):
        pass
    with exclusive_lock(tmp_path / "r"):
        second = charlm("train", book, "--run", tmp_path / "r")
    assert second.returncode == 75 and b"is being written by another" in second.stderr


def test_foreign_directory_is_left_unchanged(tmp_path: Path, book: Path) -> None:
    home = tmp_path / "home"
    (home / ".tmp-precious").mkdir(parents=True)
    (home / "lock").write_text("mine")
    (home / "runs").mkdir()
    assert charlm("train", book, "--run", home).returncode == 73
    assert charlm("train", book, "--resume", home).returncode == 66
    assert charlm("compare-cells", book, "--out", home).returncode == 73
    assert (home / "lock").read_text() == "mine"
    with exclusive_lock(home):  # even a writer removes only temporaries of charlm
        (home / ".tmp-x-1-0123abcd").touch()
    with exclusive_lock(home):
        names = {path.name for path in home.iterdir()}
    assert names == {".tmp-precious", "lock", "runs"}


def test_failed_start_leaves_nothing(tmp_path: Path) -> None:
    assert charlm("train", tmp_path / "none.txt", "--run", tmp_path / "r").returncode == 66
    assert not (tmp_path / "r").exists()


def test_directory_that_vanishes_while_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that left nothing removes its directory while another one is about to lock it."""
    path, calls = tmp_path / "shared", 0
    create = os.mkdir

    def race(name: str | Path, *mode: int) -> None:
        nonlocal calls
        calls += Path(name) == path
        if Path(name) == path and calls == 2:  # that of filelock, which looks once more after it
            path.rmdir()
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        create(name, *mode)

    monkeypatch.setattr(os, "mkdir", race)
    with exclusive_lock(path):
        assert (path / "lock").read_bytes().startswith(b"process ")
    assert calls == 4  # twice by each of the two


def test_directory_that_vanishes_while_it_is_created_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shared"
    exists = Path.exists

    def race(self: Path) -> bool:
        found = exists(self)
        if self == path and found:
            path.rmdir()
        return found

    monkeypatch.setattr(Path, "exists", race)
    make_directory(path)
