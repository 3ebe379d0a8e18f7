"""Cache of encoded texts: readable by the user alone, and not used where others may write it."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from charlm.data.names import printable
from charlm.errors import StorageError
from charlm.storage import files
from charlm.storage.trust import distrust_reason, make_private_directory

logger = logging.getLogger("charlm")


@contextmanager
def private_cache() -> Iterator[Path]:
    """Yield the directory of the cache, which is created if there is none.

    Where others may write the cache, it is neither read nor written. A temporary directory takes
    its place: an open file stays readable after the block.

    Raises:
        StorageError: It cannot be created.
    """
    directory = files.cache_directory()
    with files.translate_os_errors("create", directory):
        make_private_directory(directory)
        reason = distrust_reason(directory)
    if not reason:
        yield directory
        return
    _warn(directory, reason)
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


@cache  # once
def _warn(directory: Path, reason: str) -> None:
    logger.warning(
        "note: the cache %s is not used, so texts are encoded anew: %s. Try chmod 700, or another "
        "$CHARLM_CACHE",
        printable(directory),
        reason,
    )


def check_free_space(directory: Path, needed: int) -> None:
    """Check that a file of this many bytes has room, before it is written.

    Raises:
        StorageError: It has not.
    """
    with files.translate_os_errors("write", directory):
        free = files.free_bytes(directory)
    if free < needed:
        raise StorageError(
            f"cannot encode the text: {needed / 1e6:,.1f} MB are needed in {directory}, and "
            f"{free / 1e6:,.1f} MB are free. Try another $CHARLM_CACHE, or make room"
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
