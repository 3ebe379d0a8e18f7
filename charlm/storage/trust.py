"""Trust in directories whose files are executed or believed: nobody else may write into them."""

import grp
import os
import pwd
import shlex
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Distrust(NamedTuple):
    """Why others may change a file or directory."""

    cause: str
    remedy: str = ""  # command that makes it private; "": only another place is


def distrust_reason(path: Path) -> Distrust | None:
    """Return why others may change a file or directory, or what it names; None if they may not.

    It must be no link, and belong to this user. It and every directory above it must not be
    writable by others, nor by a group with anybody else in it. Above it root may be the owner, or
    in a user namespace a user outside of it, whom nobody can tell from root. A directory with the
    sticky bit, such as /tmp, may be writable: others cannot rename in it what is not theirs. Links
    above it are followed, if they and the directories that they lead through pass the same test.

    Raises:
        OSError: It does not exist, or cannot be looked at.
    """
    path = path.absolute()
    os.path.realpath(path.parent, strict=True)  # raises if links lead in a circle
    return _distrust_parents(path) or distrust_status(os.lstat(path), path)


def distrust_status(status: os.stat_result, path: Path) -> Distrust | None:
    """Return why others may change a file or directory with this status, or None."""
    if stat.S_ISLNK(status.st_mode):
        return Distrust(f"{path} is a link")
    if status.st_uid != os.getuid():
        return Distrust(f"{path} belongs to another user")
    return _distrust_writable(path, status) if _others_may_write(status) else None


def _distrust_writable(path: Path, status: os.stat_result) -> Distrust:
    is_own = status.st_uid == os.getuid()
    command = f"chmod go-w {shlex.quote(str(path))}" if is_own else ""
    return Distrust(f"others may write into {path}", command)


def _others_may_write(status: os.stat_result) -> bool:
    is_shared = status.st_mode & 0o020 and not is_own_group(status.st_gid)
    return bool(status.st_mode & 0o002 or is_shared)


@cache
def is_own_group(group: int) -> bool:
    """Return whether a group is the private one of this user: of the same name and number.

    Where each user has such a group, directories are often writable by it (umask 002). Members
    cannot all be listed: a directory service need not name those whose primary group it is.
    """
    user = os.getuid()
    try:
        entry, own = grp.getgrgid(group), pwd.getpwuid(user)
    except KeyError:  # without an entry, its members are unknown
        return False
    is_private = own.pw_gid == group == user and entry.gr_name == own.pw_name
    return is_private and set(entry.gr_mem) <= {own.pw_name}


@cache
def _user_outside() -> int:
    """Return the owner that files of users outside of this user namespace have; -1: it is none."""
    try:
        if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]:
            return -1
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return -1


def _distrust_parents(path: Path) -> Distrust | None:
    for parent in reversed(path.parents):
        status = os.lstat(parent)
        if status.st_uid not in (0, os.getuid(), _user_outside()):
            return Distrust(f"{parent} belongs to another user")
        if stat.S_ISLNK(status.st_mode):
            in_target = parent.parent / os.readlink(parent) / "any"
            if reason := _distrust_parents(in_target):
                return reason
        elif _others_may_write(status) and not status.st_mode & stat.S_ISVTX:
            return _distrust_writable(parent, status)
    return None


def make_private_directory(path: Path) -> None:
    """Create a directory that others may not enter, and its parents, unless they exist."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with suppress(FileExistsError):  # another process has just created it
            os.mkdir(directory, 0o700)
