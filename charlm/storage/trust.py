"""Trust in directories whose files are executed or believed: nobody else may write into them."""

import grp
import os
import pwd
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path


def distrust_reason(path: Path) -> str:
    """Return why others may change a file or directory, or what it names; "" if they may not.

    It must be no link, and belong to this user. It and every directory above it must not be
    writable by others, nor by a group with anybody else in it. Above it root may be the owner. A
    directory with the sticky bit, such as /tmp, may be writable: others cannot rename in it what is
    not theirs. Links above it are followed, if they and the directories that they lead through
    pass the same test.

    Raises:
        OSError: It does not exist, or cannot be looked at.
    """
    path = path.absolute()
    os.path.realpath(path.parent, strict=True)  # raises if links lead in a circle
    if reason := _distrust_parents(path):
        return reason
    return distrust_status(os.lstat(path), path)


def distrust_status(status: os.stat_result, path: Path) -> str:
    """Return why others may change a file or directory with this status, or ""."""
    if stat.S_ISLNK(status.st_mode):
        return f"{path} is a link"
    if status.st_uid != os.getuid():
        return f"{path} belongs to another user"
    return f"others may write into {path}" if _others_may_write(status) else ""


def _others_may_write(status: os.stat_result) -> bool:
    is_shared = status.st_mode & 0o020 and not is_own_group(status.st_gid)
    return bool(status.st_mode & 0o002 or is_shared)


@cache
def is_own_group(group: int) -> bool:
    """Return whether a group has nobody but this user in it.

    Where each user has such a group, directories are often writable by it (umask 002).
    """
    user = os.getuid()
    try:
        members = set(grp.getgrgid(group).gr_mem)
        if pwd.getpwuid(user).pw_gid != group:
            return False
        others = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == group} - {user}
        return not others and members <= {pwd.getpwuid(user).pw_name}
    except KeyError:  # without an entry, its members are unknown
        return False


def _distrust_parents(path: Path) -> str:
    for parent in reversed(path.parents):
        status = os.lstat(parent)
        if status.st_uid not in (0, os.getuid()):
            return f"{parent} belongs to another user"
        if stat.S_ISLNK(status.st_mode):
            in_target = parent.parent / os.readlink(parent) / "any"
            if reason := _distrust_parents(in_target):
                return reason
        elif _others_may_write(status) and not status.st_mode & stat.S_ISVTX:
            return f"others may write into {parent}"
    return ""


def make_private_directory(path: Path) -> None:
    """Create a directory that others may not enter, and its parents, unless they exist."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with suppress(FileExistsError):  # another process has just created it
            os.mkdir(directory, 0o700)
