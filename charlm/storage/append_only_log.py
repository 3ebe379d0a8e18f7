"""Logs of JSON lines, each with a checksum, of which a kill can damage the last line alone."""

import logging
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from charlm.storage.files import sync_directory, translate_os_errors, write_all
from charlm.storage.reading import FileError, check_regular, damaged_file, iter_lines

logger = logging.getLogger("charlm")

LINE_BYTES = 2**16  # limit of a line: far more than charlm writes into one
CHECKSUM = re.compile(rb',"crc32":"([0-9a-f]{8})"\}\n\Z')  # last key of a line


def seal_line(line: bytes) -> bytes:
    """Return a JSON object as a line of a log, whose last key is the CRC-32 of the object."""
    return line[:-1] + b',"crc32":"%08x"}\n' % zlib.crc32(line)


def unseal_line(line: bytes) -> bytes | None:
    """Return the JSON object of a line of a log; None if the line was changed."""
    seal = CHECKSUM.search(line)
    if seal is None:
        return None
    unsealed = line[: seal.start()] + b"}"
    return unsealed if b"%08x" % zlib.crc32(unsealed) == seal[1] else None


def has_damaged_end(line: bytes) -> bool:
    """Return whether a line without a line end is whole but for that one byte.

    A kill cuts a line off, and a power cut may leave zeros: neither puts another byte in its place.
    """
    return not line.endswith((b"\n", b"\0")) and unseal_line(line[:-1] + b"\n") is not None


class LogLine(NamedTuple):
    """Line of a log."""

    json: bytes  # its object, without the checksum
    size: int  # bytes of the line in the file


def iter_log_lines(path: Path) -> Iterator[LogLine]:
    """Yield the lines of a log, without a last one that a kill or a writer cut off.

    Raises:
        MissingFileError: There is no log.
        DataError: A line is damaged; the message names it.
        StorageError: The log cannot be read now.
    """
    for number, line in enumerate(iter_lines(path, LINE_BYTES), 1):
        if line.endswith(b"\n"):
            unsealed = unseal_line(line)
            if unsealed is None:
                raise damaged_line(path, f"line {number}")
            yield LogLine(unsealed, len(line))
        elif has_damaged_end(line):
            raise damaged_line(path, f"line {number}", "its line end was changed")


def damaged_line(path: Path, line: str, cause: str = "its checksum does not match") -> FileError:
    """Return the error of a line of a log."""
    return damaged_file(path, f"{line} is damaged: {cause}")


class AppendOnlyLog:
    """Log of JSON lines; each is one write, so that a kill can cut off only the last."""

    def __init__(self, path: Path) -> None:
        """Open a log for appending; create it if needed. A last line without its end is removed.

        Raises:
            DataError: It is a link, a directory, a device, a FIFO or a socket.
            StorageError: It cannot be written now.
        """
        self.path = path
        self.has_durable_name = False
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with translate_os_errors("write", path):
            with suppress(FileNotFoundError):
                check_regular(path, os.lstat(path))  # opening some devices has an effect
            self.descriptor = os.open(path, flags, 0o666)
            check_regular(path, os.fstat(self.descriptor))  # it may have been replaced meanwhile
            size = os.fstat(self.descriptor).st_size
            tail = os.pread(self.descriptor, LINE_BYTES, max(0, size - LINE_BYTES))
            cut_off = len(tail) - 1 - tail.rfind(b"\n")
        if has_damaged_end(tail[len(tail) - cut_off :]):
            logger.warning("the last line of %s was damaged, and is removed", path)
        self.truncate(size - cut_off)

    def append(self, line: bytes) -> None:
        """Write a JSON object as a line, with its checksum."""
        with translate_os_errors("write", self.path):
            write_all(self.descriptor, seal_line(line))

    def sync(self) -> int:
        """Make all lines durable and return the length of the file in bytes."""
        with translate_os_errors("write", self.path):
            os.fsync(self.descriptor)
            if not self.has_durable_name:
                sync_directory(self.path.parent)
                self.has_durable_name = True
            return os.fstat(self.descriptor).st_size

    def truncate(self, length: int) -> None:
        """Remove what was appended after this length: the run goes back to a checkpoint."""
        with translate_os_errors("shorten", self.path):
            if os.fstat(self.descriptor).st_size > length:
                os.ftruncate(self.descriptor, length)
                os.fsync(self.descriptor)

    def close(self) -> None:
        """Close the file."""
        with translate_os_errors("write", self.path):
            os.close(self.descriptor)


class DiscardedLog(AppendOnlyLog):
    """Log that is not written: that of a process which is not the first."""

    def __init__(self) -> None:
        """Open nothing."""

    def append(self, line: bytes) -> None:
        """Ignore a line."""

    def sync(self) -> int:
        """Return a length of zero."""
        return 0

    def truncate(self, length: int) -> None:
        """Remove nothing."""

    def close(self) -> None:
        """Close nothing."""
