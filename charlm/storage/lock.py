"""TODO docstring."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from charlm.errors import LockedError
from charlm.storage import files


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """The only writer of this directory until the block ends or the process dies."""
    made = not path.exists()
    files.make_directory(path)
    lock = filelock.FileLock(path / "lock")
    with files.translate_os_errors("write", path / "lock"):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            owner = (path / "lock").read_text(errors="replace")[:100] or "unknown"
            raise LockedError(
                f"{path} is being written by another process ({owner}): wait for it, or stop it"
            ) from None
    try:
        (path / "lock").write_text(f"process {os.getpid()} on {os.uname().nodename}")
        files.remove_stale_temporaries(path)
        files.remove_stale_temporaries(path / "checkpoints")
        yield
    finally:
        if made and [p.name for p in path.iterdir()] == ["lock"]:  # nothing came of it
            (path / "lock").unlink()
            path.rmdir()
        lock.release()
