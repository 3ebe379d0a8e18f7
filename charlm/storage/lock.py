"""Locks: exclusive ones of directories that are written, shared ones of cached files in use."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from charlm.errors import DataError, LockedError
from charlm.storage import files
from charlm.storage.reading import (
    MissingFileError,
    check_plain_directory,
    open_regular_file,
    path_exists,
)

LOCK_FILE = "lock"
OWNER_BYTES = 100  # limit of the content of a lock
CHECKPOINT_FOLDERS = ("checkpoints", "before-decay")
# `is_locked` and `remove_lock` hold a lock for a moment, which is no other writer.
PATIENCE = 0.2  # seconds
CLEANING_ATTEMPTS, CLEANING_PAUSE = 200, 0.05  # seconds: a cleanup holds a file for a moment


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Create a directory if needed, and lock it until the block ends or the process dies.

    Unfinished files of killed writers are removed. A directory that was created here is removed
    again if the block left nothing in it.

    Raises:
        LockedError: Another process holds the lock; the message names it.
        DataError: The lock is no regular file.
        StorageError: The directory cannot be written.
    """
    is_new = not path_exists(path)
    with suppress(MissingFileError):
        open_regular_file(path / LOCK_FILE).close()
    lock = filelock.FileLock(path / LOCK_FILE)
    with files.translate_os_errors("write", path / LOCK_FILE):
        try:
            while not lock.is_locked:
                files.make_directory(path)
                # A process that wrote nothing may remove the directory meanwhile: filelock, which
                # creates it, too, then finds that it exists, or that it does not.
                with suppress(FileNotFoundError, FileExistsError):
                    lock.acquire(timeout=PATIENCE)
        except filelock.Timeout:
            owner = _read_start(path / LOCK_FILE, OWNER_BYTES).decode(errors="replace") or "unknown"
            raise LockedError(
                f"cannot write {path}: it is being written by another process ({owner}). "
                "Wait for it, or stop it"
            ) from None
    try:
        _write_owner(path / LOCK_FILE)
        files.remove_stale_temporaries(path)
        for folder in CHECKPOINT_FOLDERS:
            with suppress(DataError):  # missing, or a link, whose directory is not ours
                check_plain_directory(path / folder)
                files.remove_stale_temporaries(path / folder)
        yield
    finally:
        if is_new and [entry.name for entry in path.iterdir()] == [LOCK_FILE]:
            (path / LOCK_FILE).unlink()
            with suppress(OSError):  # another process waits for it, and has a new lock in it
                path.rmdir()
        lock.release()


def _write_owner(path: Path) -> None:
    """Write this process into a lock file, durably: it tells later what a creation left behind."""
    data = f"process {os.getpid()} on {os.uname().nodename}".encode()[:OWNER_BYTES]
    with files.translate_os_errors("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            files.write_all(descriptor, data)  # over the old owner: it is never empty again
            os.ftruncate(descriptor, len(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_directory(path.parent)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the exclusive lock of a directory; write nothing.

    A lock that cannot be read counts as held.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path / LOCK_FILE, flags)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_lock_file(path: Path) -> bool:
    """Return whether a file is a lock that `exclusive_lock` has written."""
    with suppress(DataError):
        return _read_start(path, 8) == b"process "
    return False


def is_unwritten_lock(path: Path) -> bool:
    """Return whether a lock has no content yet: a kill leaves it empty, a power cut with zeros."""
    with suppress(DataError):
        return not _read_start(path, OWNER_BYTES + 1).strip(b"\0")
    return False


def _read_start(path: Path, size: int) -> bytes:
    with open_regular_file(path) as file:
        return file.read(size)


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Mark a file or directory of the cache as in use until the block ends.

    What is mapped into memory in the block stays in use until it is unmapped. Processes that read
    do not exclude each other. A file system without locks marks nothing, and `unused` then yields
    False.

    Raises:
        FileNotFoundError: There is no such file.
        LockedError: Another process, such as `charlm clean`, keeps it locked.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mark_in_use(descriptor)
        yield
    finally:
        os.close(descriptor)


def mark_in_use(descriptor: int) -> None:
    """Mark an open file of the cache as in use until it is closed and no longer mapped into memory.

    Raises:
        LockedError: Another process, such as `charlm clean`, keeps it locked.
    """
    for _ in range(CLEANING_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(CLEANING_PAUSE)
        except OSError:
            return  # a file system without locks
        else:
            return
    raise LockedError(
        f"cannot use {files.cache_directory()}: another process has locked it for "
        f"{CLEANING_ATTEMPTS * CLEANING_PAUSE:.0f} s, such as charlm clean. Wait for it, or stop it"
    )


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Yield whether no process uses a file or directory of the cache.

    If it is so, none begins to use it before the block ends.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
