"""Tests of the trust in directories: owners, permissions, links."""

import errno
import grp
import os
import pwd
from pathlib import Path

import pytest

from charlm.errors import StorageError
from charlm.storage import files, trust
from charlm.storage.trust import distrust_reason, make_private_directory

NOBODY = 65534


def cause_of(path: Path) -> str:
    distrust = distrust_reason(path)
    return distrust.cause if distrust else ""


@pytest.fixture
def private(tmp_path: Path) -> Path:
    make_private_directory(tmp_path / "a" / "b")
    return tmp_path / "a" / "b"


def test_private_directory_below_a_sticky_one_is_trusted(private: Path) -> None:
    assert private.stat().st_mode & 0o777 == private.parent.stat().st_mode & 0o777 == 0o700
    private.parent.chmod(0o1777)
    assert distrust_reason(private) is None
    make_private_directory(private)  # it exists


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_directory_that_others_can_write_is_named(
    private: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "is_own_group", lambda group: False)
    private.parent.chmod(mode)
    assert distrust_reason(private) == (
        f"others may write into {private.parent}",
        f"chmod go-w {private.parent}",
    )
    private.parent.chmod(0o700)
    private.chmod(mode)
    assert cause_of(private) == f"others may write into {private}"


def test_only_the_private_group_of_this_user_may_write(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory service need not name the users whose primary group it is."""
    private.chmod(0o770)
    user = os.getuid()
    os.chown(private, -1, user)  # a group of this number, which root and owners of one may give
    for name, gid, members, is_trusted in [
        ("me", user, [], True),
        ("me", user, ["me"], True),
        ("me", user, ["me", "you"], False),
        ("staff", user, [], False),  # LDAP: everybody's primary group
        ("me", user + 1, [], False),
    ]:
        own = pwd.struct_passwd(("me", "", user, gid, "", "", ""))
        found = grp.struct_group((name, "", gid, members))
        monkeypatch.setattr(pwd, "getpwuid", lambda _, own=own: own)
        monkeypatch.setattr(grp, "getgrgid", lambda _, found=found: found)
        trust.is_own_group.cache_clear()
        assert trust.is_own_group(gid) == is_trusted
        if gid == user:
            assert (distrust_reason(private) is None) == is_trusted
    trust.is_own_group.cache_clear()


def test_link_is_refused_and_followed_above(private: Path, tmp_path: Path) -> None:
    link, outer = tmp_path / "link", tmp_path / "outer"
    link.symlink_to("a")
    outer.symlink_to(link)
    assert cause_of(link) == f"{link} is a link"
    assert distrust_reason(outer / "b") is None
    (tmp_path / "a").chmod(0o777)
    assert cause_of(outer / "b") == f"others may write into {tmp_path / 'a'}"


def test_circle_of_links_and_missing_directory_raise_os_errors(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    for path in (tmp_path / "x" / "z", tmp_path / "missing" / "z"):
        with pytest.raises(OSError):
            distrust_reason(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_directory_or_link_of_another_user_is_named(
    private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to("a")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    assert cause_of(link / "b") == f"{link} belongs to another user"
    for directory in (private, private.parent):
        os.chown(directory, NOBODY, NOBODY)
        assert distrust_reason(private) == (f"{directory} belongs to another user", "")
    monkeypatch.setattr(trust, "_user_outside", lambda: NOBODY)  # as in a user namespace
    os.chown(private, os.getuid(), -1)
    assert distrust_reason(private) is None
    private.parent.chmod(0o777)
    assert distrust_reason(private) == (f"others may write into {private.parent}", "")


def test_message_of_a_failed_write_names_space_only_where_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda _: 61_400)
    for code, expected in (
        (errno.ENOSPC, "; 72.0 kB are needed, 61.4 kB are free there. "),
        (errno.EROFS, ". Copy the run to a directory that you can write"),
        (errno.EIO, ". Fix that"),
    ):
        with (
            pytest.raises(StorageError) as caught,
            files.translate_os_errors("write", tmp_path, 72_000),
        ):
            raise OSError(code, os.strerror(code))
        assert f"{os.strerror(code)}{expected}" in str(caught.value)
