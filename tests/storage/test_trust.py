"""Tests of the trust in directories: owners, permissions, links."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from charlm.storage import trust
from charlm.storage.trust import distrust_reason, make_private_directory

NOBODY = 65534


@pytest.fixture
def private(tmp_path: Path) -> Path:
    make_private_directory(tmp_path / "a" / "b")
    return tmp_path / "a" / "b"


def test_private_directory_below_a_sticky_one_is_trusted(private: Path) -> None:
    assert private.stat().st_mode & 0o777 == private.parent.stat().st_mode & 0o777 == 0o700
    private.parent.chmod(0o1777)
    assert distrust_reason(private) == ""
    make_private_directory(private)  # it exists


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_directory_that_others_can_write_is_named(
    private: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "is_own_group", lambda group: False)
    private.parent.chmod(mode)
    assert distrust_reason(private) == f"others may write into {private.parent}"
    private.parent.chmod(0o700)
    private.chmod(mode)
    assert distrust_reason(private) == f"others may write into {private}"


def test_group_of_this_user_alone_may_write(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private.chmod(0o770)
    group = private.stat().st_gid
    own = pwd.struct_passwd(("me", "", os.getuid(), group, "", "", ""))
    other = pwd.struct_passwd(("you", "", os.getuid() + 1, group, "", "", ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda user: own)
    for entries, members, is_trusted in [
        ([own], [], True),
        ([own], ["me"], True),
        ([own], ["me", "you"], False),
        ([own, other], [], False),
    ]:
        monkeypatch.setattr(pwd, "getpwall", lambda entries=entries: entries)
        found = grp.struct_group(("me", "", group, members))
        monkeypatch.setattr(grp, "getgrgid", lambda group, found=found: found)
        trust.is_own_group.cache_clear()
        assert (distrust_reason(private) == "") == is_trusted
    trust.is_own_group.cache_clear()


def test_link_is_refused_and_followed_above(private: Path, tmp_path: Path) -> None:
    link, outer = tmp_path / "link", tmp_path / "outer"
    link.symlink_to("a")
    outer.symlink_to(link)
    assert distrust_reason(link) == f"{link} is a link"
    assert distrust_reason(outer / "b") == ""
    (tmp_path / "a").chmod(0o777)
    assert distrust_reason(outer / "b") == f"others may write into {tmp_path / 'a'}"


def test_circle_of_links_and_missing_directory_raise_os_errors(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    for path in (tmp_path / "x" / "z", tmp_path / "missing" / "z"):
        with pytest.raises(OSError):
            distrust_reason(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_directory_or_link_of_another_user_is_named(private: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("a")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    assert distrust_reason(link / "b") == f"{link} belongs to another user"
    for directory in (private, private.parent):
        os.chown(directory, NOBODY, NOBODY)
        assert distrust_reason(private) == f"{directory} belongs to another user"
