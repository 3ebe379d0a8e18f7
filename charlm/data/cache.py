"""Files in the cache of encoded texts, which the user alone can read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charlm.errors import StorageError
from charlm.storage import files
from charlm.storage.usage import describe_space


def check_free_space(directory: Path, needed: int) -> None:
    """Check that a file of this many bytes has room, before it is written.

    Raises:
        StorageError: It has not.
    """
    with files.translate_os_errors("write", directory):
        free = files.free_bytes(directory)
    if free < needed:
        raise StorageError(
            f"cannot encode the text in {directory}: {describe_space(needed, free)}. "
            "Try another $CHARLM_CACHE, or make room"
        )


@contextmanager
def private_writer(path: Path) -> Iterator[files.AtomicFileWriter]:
    """Open a file of the cache for writing, which only the user can read."""
    with files.AtomicFileWriter(path, replace=True) as file:
        with files.translate_os_errors("write", path):
            os.fchmod(file.descriptor, 0o600)
        yield file


def write_private(path: Path, data: bytes) -> None:
    """Write a file of the cache, or replace it, which only the user can read."""
    with private_writer(path) as file:
        file.write(data)
        file.commit()
