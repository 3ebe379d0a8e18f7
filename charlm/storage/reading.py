"""Reading of files that a stranger may have made, such as those of a run that was sent.

A file must be regular, no link, and no larger than its reader allows; otherwise nothing of it is
read. Opening a FIFO or a device neither waits nor has an effect.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from charlm.errors import DataError, StorageError

RECORD_BYTES = 2**24  # limit of a file of records: far more than charlm writes into one
PIECE_BYTES = 2**20  # of a file that is read piece by piece
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# A file that is removed while it is read is stale on a network file system.
MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)

TYPES = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}
FileErrorKind = Literal["damaged", "missing", "link", "special"]


class FileError(DataError):
    """A file or directory that is damaged, missing, a link, or of another type.

    Attributes:
        path: The file or directory.
        cause: What is wrong with it, as a clause about "it".
        kind: Kind of the cause.
    """

    def __init__(
        self, message: str, path: Path, cause: str, kind: FileErrorKind = "damaged"
    ) -> None:
        """Create it with its message, which names path, cause and remedy."""
        super().__init__(message, path, cause, kind)  # all of them: it may be pickled
        self.path, self.cause, self.kind = path, cause, kind

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])


class MissingFileError(FileError):
    """A file that a run must have and does not."""


def file_type(mode: int) -> str:
    """Return the type of a file in words, such as "a FIFO", from its mode."""
    return TYPES.get(stat.S_IFMT(mode), "of an unknown type")


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
        check_regular(path, os.lstat(path))  # opening some devices has an effect
        file = open(os.open(path, FLAGS), "rb")  # noqa: SIM115
    except OSError as error:
        raise _read_error(path, error) from error
    try:
        status = os.fstat(file.fileno())
        check_regular(path, status)  # it may have been replaced between the two calls
        if limit is not None and status.st_size > limit:
            cause = f"it has {status.st_size:,} bytes, and such a file at most {limit:,}"
            raise damaged_file(path, cause)
    except DataError:
        file.close()
        raise
    return file


def check_regular(path: Path, status: os.stat_result) -> None:
    """Raise DataError unless this is the status of a regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise _wrong_type(path, status.st_mode, "file")


def read_regular_file(path: Path, limit: int = RECORD_BYTES) -> bytes:
    """Return the content of a regular file, see `open_regular_file`."""
    with open_regular_file(path, limit) as file:
        try:
            # As many bytes are allocated as are asked for. A file that grows is cut off.
            return file.read(min(limit, os.fstat(file.fileno()).st_size))
        except OSError as error:
            raise _read_error(path, error) from error


def iter_pieces(path: Path, limit: int) -> Iterator[bytes]:
    """Yield the content of a regular file in pieces, see `open_regular_file`."""
    with open_regular_file(path, limit) as file:
        try:
            while piece := file.read(PIECE_BYTES):
                yield piece
        except OSError as error:
            raise _read_error(path, error) from error


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
            raise _read_error(path, error) from error


def path_exists(path: Path) -> bool:
    """Return whether there is anything under this name, if only a link to nothing.

    Raises:
        StorageError: This cannot be told now.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno in MISSING:
            return False
        raise _read_error(path, error) from error
    return True


def list_names(directory: Path) -> list[str]:
    """Return the sorted names of the entries of a directory.

    Raises:
        MissingFileError: There is no such directory.
        StorageError: It cannot be read now.
    """
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        raise _read_error(directory, error) from error


def iter_lines(path: Path, limit: int) -> Iterator[bytes]:
    """Yield the lines of a regular file, each with its line end, which the last one may lack.

    Nothing follows such a line, even if a writer has completed it meanwhile.

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
                    raise damaged_file(
                        path, f"line {number} is damaged: it has more than {limit:,} bytes"
                    )
                yield line
                if not line.endswith(b"\n"):
                    return
        except OSError as error:
            raise _read_error(path, error) from error


def check_plain_directory(path: Path) -> None:
    """Check that a path is a directory and no link to one.

    Raises:
        MissingFileError: There is nothing.
        DataError: It is something else.
        StorageError: It cannot be looked at now.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        raise _read_error(path, error) from error
    if not stat.S_ISDIR(mode):
        raise _wrong_type(path, mode, "directory")


def damaged_file(path: Path, cause: str) -> FileError:
    """Return the error of a file that was read, and whose content is wrong."""
    return FileError(f"cannot read {path}: {cause}. Restore it from a backup", path, cause)


def _wrong_type(path: Path, mode: int, expected: str) -> FileError:
    cause = f"it is {file_type(mode)}"
    message = f"cannot read {path}: {cause}. Replace it by the real {expected}"
    if stat.S_ISLNK(mode) and expected == "directory":
        message += "; the directory around it may be a link, or another disk be mounted on it"
    return FileError(message, path, cause, "link" if stat.S_ISLNK(mode) else "special")


def _read_error(path: Path, error: OSError) -> MissingFileError | StorageError:
    if error.errno in MISSING:
        message = f"cannot read {path}: {error.strerror}. Restore it from a backup"
        return MissingFileError(message, path, "it is missing", "missing")
    return StorageError(
        f"cannot read {path}: {error.strerror or error}. Nothing was changed; fix that, then run "
        "the same command again"
    )
