"""Exclusive lock of a directory: at most one process writes it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from charlm.errors import LockedError
from charlm.storage import files


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Create a directory if needed, and lock it until the block ends or the process dies.

    Unfinished files of killed writers are removed. A directory that was created here is removed
    again if the block left nothing in it.

    Raises:
        LockedError: Another process holds the lock; the message names it.
        StorageError: The directory cannot be written.
    """
    is_new = not path.exists()
    files.make_directory(path)
    lock = filelock.FileLock(path / "lock")
    with files.translate_os_errors("write", path / "lock"):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            owner = (path / "lock").read_text(errors="replace")[:100] or "unknown"
            raise LockedError(
                f"cannot write {path}: it is being written by another process ({owner}). "
                "Wait for it, or stop it"
            ) from None
    try:
        (path / "lock").write_text(f"process {os.getpid()} on {os.uname().nodename}")
        files.remove_stale_temporaries(path)
        files.remove_stale_temporaries(path / "checkpoints")
        yield
    finally:
        if is_new and [entry.name for entry in path.iterdir()] == ["lock"]:
            (path / "lock").unlink()
            path.rmdir()
        lock.release()
