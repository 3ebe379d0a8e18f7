"""Files that Python's `open` writes, whose operations go through given functions."""

import builtins
import io
import os
from collections.abc import Callable
from typing import Any


def intercept_python_files(
    open_: Callable[..., int], close: Callable[[int], None], write: Callable[[int, Any], int]
) -> None:
    """Let files that Python's `open` writes go through the same functions."""
    original = io.open

    class RawFile(io.RawIOBase):
        """File of which each write is one operation."""

        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor

        def fileno(self) -> int:
            return self.descriptor

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            return os.lseek(self.descriptor, offset, whence)

        def readinto(self, buffer: Any) -> int:
            return os.readv(self.descriptor, [buffer])

        def write(self, data: Any) -> int:
            return write(self.descriptor, data)

        def truncate(self, size: int | None = None) -> int:
            size = self.tell() if size is None else size
            os.ftruncate(self.descriptor, size)
            return size

        def close(self) -> None:
            if not self.closed:
                try:
                    super().close()
                finally:
                    close(self.descriptor)

    def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        is_read = not set(mode) & set("wax+")
        if is_read or isinstance(file, int) or named.get("opener") or more[:1] == (0,):
            return original(file, mode, *more, **named)
        flags = os.O_RDWR if "+" in mode else os.O_WRONLY
        flags |= os.O_CLOEXEC
        flags |= os.O_CREAT if "r" not in mode else 0
        flags |= os.O_TRUNC if "w" in mode else 0
        flags |= os.O_APPEND if "a" in mode else 0
        flags |= os.O_EXCL if "x" in mode else 0
        raw = RawFile(open_(file, flags, 0o666))
        if named.get("buffering") == 0:
            return raw
        binary: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return binary
        words = {k: v for k, v in named.items() if k in ("encoding", "errors", "newline")}
        words.setdefault("encoding", "utf-8")
        return io.TextIOWrapper(binary, **words)

    builtins.open = io.open = opened
