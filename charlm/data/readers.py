"""Readers of texts: regular files, compressed files up to a limit, and pipes.

A compressed file of a few bytes can become as large as a disk, and a pipe need not end. What they
give is limited. A file that was unpacked by hand is not.
"""

import bz2
import gzip
import io
import lzma
import os
import stat
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

from charlm.data.names import printable
from charlm.errors import DataError, StorageError
from charlm.storage import files, reading

CHUNK_BYTES = 1 << 22
MAX_BYTES = 4 << 30  # that a compressed file or a pipe gives
MAX_RATIO = 200  # of the bytes that a compressed file gives to its own; text has 3 to 10
UNLIMITED_BYTES = 64 << 20  # that a compressed file may give at any ratio

Opener = Callable[[], AbstractContextManager[IO[bytes]]]
UNPACKERS: dict[str, Callable[[BinaryIO], IO[bytes]]] = {
    ".gz": cast(Callable[[BinaryIO], IO[bytes]], gzip.open),
    ".bz2": cast(Callable[[BinaryIO], IO[bytes]], bz2.open),
    ".xz": cast(Callable[[BinaryIO], IO[bytes]], lzma.open),
}


class Limit(NamedTuple):
    """Limit of the bytes that a source gives."""

    bytes: int
    reason: str  # for a message, after the number of bytes
    advice: str  # after "Try"

    def check(self, name: str, received: int) -> None:
        """Raise DataError if a source has given more bytes."""
        if received > self.bytes:
            raise DataError(
                f"cannot read text: {name} gives more than {self.bytes:,} bytes{self.reason}. "
                f"Try {self.advice}"
            )


PIPE_LIMIT = Limit(MAX_BYTES, ", the limit of a pipe", "to save it as a file")


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file, or the one that a link leads to, without waiting.

    Raises:
        DataError: It is something else.
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, reading.FLAGS & ~os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # replaced since it was looked at
        os.close(descriptor)
        raise special_file_error(path)
    return open(descriptor, "rb")


def open_compressed(path: Path, unpack: Callable[[BinaryIO], IO[bytes]]) -> Opener:
    """Return a function that opens a compressed file as what it unpacks to."""

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with open_plain(path) as file, unpack(file) as unpacked:
            yield unpacked

    return opened


def compressed_limit(size: int) -> Limit:
    """Return the limit of a compressed file of this size."""
    largest = min(MAX_BYTES, max(UNLIMITED_BYTES, MAX_RATIO * size))
    return Limit(largest, f", unpacked from {size:,}", "to unpack it by hand, if you trust it")


def run_limit(size: int) -> Limit:
    """Return the limit of a file that a run names, whose whole text has this size."""
    return Limit(size, ", all that the text of the run has", "--corpus with that text")


def special_file_error(path: Path) -> DataError:
    """Return the error of a device, a socket, or a pipe where there must be a file."""
    return DataError(
        f"cannot read text: {printable(path)} is no regular file. Try a file, or - for standard "
        "input"
    )


def read_pipe(file: IO[bytes]) -> Iterator[bytes]:
    """Iterate over the bytes of a pipe in chunks."""
    return iter(partial(file.read, CHUNK_BYTES), b"")


def lay_aside(name: str, pieces: Iterable[bytes], limit: Limit | None = None) -> Opener:
    """Write bytes that can be read only once to an unlinked temporary file.

    Args:
        name: Name of the source, for messages.
        pieces: The bytes.
        limit: Their limit; None: none.

    Returns:
        A function that opens the file.

    Raises:
        StorageError: The temporary directory is full, or there is none.
        DataError: There are more bytes than the limit.
    """
    descriptor, directory = open_temporary()
    file = TemporaryCopy(descriptor)
    size, waiting = 0, bytearray()
    for piece in chain(pieces, [b""]):
        size += len(piece)
        if limit:
            limit.check(name, size)
        waiting += piece
        if len(waiting) >= CHUNK_BYTES or not piece:
            with files.translate_os_errors(f"lay {name} aside in", directory):
                files.write_all(descriptor, memoryview(waiting))
            waiting = bytearray()
    return file.open


class TemporaryCopy:
    """File without a name, which is removed when it is no longer used."""

    def __init__(self, descriptor: int) -> None:
        """Take over an open descriptor."""
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def open(self) -> IO[bytes]:
        """Open the file at its start."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return io.BufferedReader(io.FileIO(os.dup(self.descriptor), "rb"))


def open_temporary() -> tuple[int, Path]:
    """Return the descriptor of a new file without a name, and its directory."""
    try:
        directory = Path(tempfile.gettempdir())
    except OSError as error:
        raise StorageError(
            f"cannot lay the text aside: {error.strerror}. Try another $TMPDIR"
        ) from error
    with files.translate_os_errors("write", directory):
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
    return descriptor, directory
