"""Reading of files that a stranger may have made, such as those of a run that was sent.

A file must be regular, no link, and no larger than its reader allows; otherwise nothing of it is
read. Opening a FIFO or a device neither waits nor has an effect.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from charlm.errors import DataError, StorageError

RECORD_BYTES = 2**24  # limit of a file of records: far more than charlm writes into one
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class MissingFileError(DataError):
    """A file that a run must have and does not."""


def open_regular_file(path: Path, limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading; the caller closes it.

    Args:
        path: File. Its name must not be a link; its directory may be.
        limit: Largest size in bytes; None: any.

    Raises:
        MissingFileError: There is no such file.
        DataError: It is a link, a directory, a device, a FIFO, a socket, or larger.
        StorageError: It cannot be read now, which says nothing about its content.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):  # opening some devices has an effect
            raise DataError(f"cannot read {path}: it is no regular file. Try a copy of it")
        file = open(os.open(path, FLAGS), "rb")  # noqa: SIM115
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"cannot read {path}: {error.strerror}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):  # replaced between the two calls
        file.close()
        raise DataError(f"cannot read {path}: it is no regular file. Try a copy of it")
    if limit is not None and status.st_size > limit:
        file.close()
        raise DataError(
            f"cannot read {path}: it has {status.st_size:,} bytes, and such a file at most "
            f"{limit:,}. Try a copy of it"
        )
    return file


def read_regular_file(path: Path, limit: int = RECORD_BYTES) -> bytes:
    """Return the content of a regular file, see `open_regular_file`."""
    with open_regular_file(path, limit) as file:
        try:
            # A file that grows meanwhile is cut off, so that the limit holds.
            return file.read(limit)
        except OSError as error:
            raise _unreadable(path, error) from error


class Tail(NamedTuple):
    """End of a file."""

    bytes: bytes
    start: int  # position of its first byte


def read_tail(path: Path, size: int) -> Tail:
    """Return the last bytes of a regular file, see `open_regular_file`."""
    with open_regular_file(path) as file:
        try:
            start = max(0, file.seek(0, os.SEEK_END) - size)
            file.seek(start)
            return Tail(file.read(size), start)
        except OSError as error:
            raise _unreadable(path, error) from error


def path_exists(path: Path) -> bool:
    """Return whether there is anything under this name, if only a link to nothing.

    Raises:
        StorageError: This cannot be told now.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from error
    return True


def list_names(directory: Path) -> list[str]:
    """Return the sorted names of the entries of a directory.

    Raises:
        MissingFileError: There is no such directory.
        StorageError: It cannot be read now.
    """
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"cannot read {directory}: {error.strerror}") from error
    except OSError as error:
        raise _unreadable(directory, error) from error


def iter_lines(path: Path, limit: int) -> Iterator[bytes]:
    """Yield the lines of a regular file, each with its line end, which the last one may lack.

    Args:
        path: File, see `open_regular_file`.
        limit: Largest length of a line in bytes.

    Raises:
        DataError: A line is longer; the message names it.
    """
    with open_regular_file(path) as file:
        number = 0
        try:
            while line := file.readline(limit + 1):
                number += 1
                if len(line) > limit:
                    raise DataError(
                        f"cannot read {path}: line {number} is damaged: it has more than {limit:,} "
                        "bytes. Try a copy of it"
                    )
                yield line
        except OSError as error:
            raise _unreadable(path, error) from error


def check_plain_directory(path: Path) -> None:
    """Check that a path is a directory and no link to one.

    Raises:
        MissingFileError: There is nothing.
        DataError: It is something else.
        StorageError: It cannot be looked at now.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"cannot read {path}: {error.strerror}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISDIR(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no directory"
        raise DataError(f"cannot read {path}: it is {kind}. Try a copy with a real directory")


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot read {path}: {error.strerror or error}. Nothing was changed; fix that, then run "
        "the same command again"
    )
