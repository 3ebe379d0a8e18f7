"""Logs of lines that a kill cannot damage, but for the last line."""

import os
from pathlib import Path

from charlm.storage.files import translate_os_errors, write_all


class AppendOnlyLog:
    """Log of lines; each is one write, so that a kill can cut off only the last."""

    def __init__(self, path: Path) -> None:
        """Open a log for appending; create it if needed."""
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with translate_os_errors("write", path):
            self.descriptor = os.open(path, flags, 0o666)
            size = os.fstat(self.descriptor).st_size
            if size and os.pread(self.descriptor, 1, size - 1) != b"\n":
                write_all(self.descriptor, b"\n")  # what follows must not join an incomplete line

    def append(self, line: bytes) -> None:
        """Write a line; the newline is added."""
        with translate_os_errors("write", self.path):
            write_all(self.descriptor, line + b"\n")

    def sync(self) -> int:
        """Make all lines durable and return the length of the file in bytes."""
        with translate_os_errors("write", self.path):
            os.fsync(self.descriptor)
            return os.fstat(self.descriptor).st_size

    def truncate(self, length: int) -> None:
        """Remove what was appended after this length: the run goes back to a checkpoint."""
        with translate_os_errors("shorten", self.path):
            if os.fstat(self.descriptor).st_size > length:
                os.ftruncate(self.descriptor, length)
                os.fsync(self.descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
