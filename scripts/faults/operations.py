"""Interception of the operations by which a process changes files, to inject faults into them.

Functions of `os` are replaced in a forked process; files that Python's `open` writes are intercepted
as well. Only operations below one directory count.
"""

import builtins
import io
import os
import random
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

CHANGING = ("mkdir", "rename", "replace", "link", "unlink", "remove", "rmdir", "truncate")
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
ORIGINAL = {
    name: getattr(os, name)
    for name in (*CHANGING, "open", "close", "write", "pwrite", "fsync", "fdatasync", "ftruncate")
}


class Operation(NamedTuple):
    """One operation, before it happens."""

    name: str  # function of `os`
    path: str  # absolute
    target: str = ""  # new name of a rename or link
    data: bytes = b""
    descriptor: int = -1
    length: int = 0  # of a truncation


Perform = Callable[..., Any]  # the operation itself; of a write, with the bytes as its argument
Hook = Callable[[Operation, Perform], Any]


def intercept(directory: str, hook: Hook) -> None:
    """Pass every operation below a directory through a function, which performs it or does not.

    The interception lasts as long as this process, so call it in a forked one.
    """
    directory = os.path.realpath(directory) + os.sep
    paths: dict[int, str] = {}

    def resolve(path: Any, folder: int | None = None) -> str:
        if isinstance(path, int):
            return paths.get(path, "")
        text = os.fsdecode(path)
        if folder is not None:
            text = os.path.join(paths.get(folder, ""), text)
        return os.path.abspath(text)

    def is_inside(path: str) -> bool:
        return (path + os.sep).startswith(directory)

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = resolve(path, dir_fd)

        def perform() -> int:
            descriptor: int = ORIGINAL["open"](path, flags, mode, dir_fd=dir_fd)
            paths[descriptor] = name
            return descriptor

        if is_inside(name) and flags & WRITING_FLAGS:
            descriptor: int = hook(Operation("open", name, length=flags), perform)
            return descriptor
        return perform()

    def close(descriptor: int) -> None:
        name = paths.pop(descriptor, "")
        if is_inside(name):
            hook(Operation("close", name), lambda: ORIGINAL["close"](descriptor))
        else:
            ORIGINAL["close"](descriptor)

    def write(descriptor: int, data: Any) -> int:
        name = paths.get(descriptor, "")
        if not is_inside(name):
            return int(ORIGINAL["write"](descriptor, data))
        operation = Operation("write", name, data=bytes(data), descriptor=descriptor)
        return int(hook(operation, lambda part=data: ORIGINAL["write"](descriptor, part)))

    def on_descriptor(function: str) -> Callable[..., Any]:
        def wrapper(descriptor: int, *more: Any) -> Any:
            name = paths.get(descriptor, "")
            length = more[0] if more else 0
            if not is_inside(name):
                return ORIGINAL[function](descriptor, *more)
            return hook(
                Operation(function, name, length=length, descriptor=descriptor),
                lambda: ORIGINAL[function](descriptor, *more),
            )

        return wrapper

    def on_path(function: str) -> Callable[..., Any]:
        def wrapper(path: Any, *more: Any, **named: Any) -> Any:
            name = resolve(path, named.get("dir_fd", named.get("src_dir_fd")))
            has_target = function in ("rename", "replace", "link")
            target = resolve(more[0], named.get("dst_dir_fd")) if has_target else ""
            if not is_inside(name) and not is_inside(target):
                return ORIGINAL[function](path, *more, **named)
            return hook(
                Operation(function, name, target),
                lambda: ORIGINAL[function](path, *more, **named),
            )

        return wrapper

    fakes = {"open": open_, "close": close, "write": write}
    fakes |= {name: on_descriptor(name) for name in ("fsync", "fdatasync", "ftruncate")}
    fakes |= {name: on_path(name) for name in CHANGING}
    for name, fake in fakes.items():
        setattr(os, name, fake)
        # These sets decide how `shutil.rmtree` works.
        for supported in (os.supports_dir_fd, os.supports_fd):
            if ORIGINAL[name] in supported:
                supported.add(fake)
    _intercept_python_files(open_, close, write)


def _intercept_python_files(
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


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_before(number: int) -> Hook:
    """Return a hook that ends the process before an operation; the first one is 0."""
    count = 0

    def hook(_: Operation, perform: Perform) -> Any:
        nonlocal count
        if count == number:
            die()
        count += 1
        return perform()

    return hook


def tear_write(number: int) -> Hook:
    """Return a hook that writes half of the bytes of a write and ends the process."""
    count = 0

    def hook(operation: Operation, perform: Perform) -> Any:
        nonlocal count
        if operation.name != "write":
            return perform()
        if count == number:
            perform(operation.data[: len(operation.data) // 2])
            die()
        count += 1
        return perform()

    return hook


def shorten_writes(seed: int) -> Hook:
    """Return a hook that writes only some of the bytes of each write."""
    rng = random.Random(seed)

    def hook(operation: Operation, perform: Perform) -> Any:
        if operation.name != "write" or len(operation.data) < 2:
            return perform()
        return perform(operation.data[: rng.randint(1, len(operation.data))])

    return hook


def fail(number: int, code: int, *, for_good: bool) -> Hook:
    """Return a hook that lets an operation fail.

    Args:
        number: Which one; the first is 0. Removing and closing do not count.
        code: Number of the error.
        for_good: Whether all later writes fail, too, as on a full disk.
    """
    count = -1
    synced: set[int] = set()

    def hook(operation: Operation, perform: Perform) -> Any:
        nonlocal count
        if operation.name in ("close", "unlink", "remove", "rmdir"):
            synced.discard(operation.descriptor)
            return perform()
        count += 1
        if operation.name == "fsync" and operation.descriptor in synced:
            os.abort()  # a failed fsync must not be retried: the kernel forgets the error
        if count == number or (for_good and count > number):
            if operation.name == "fsync":
                synced.add(operation.descriptor)
            raise OSError(code, os.strerror(code), operation.path)
        return perform()

    return hook


def count_operations(counts: dict[str, int]) -> Hook:
    """Return a hook that counts operations by name."""

    def hook(operation: Operation, perform: Perform) -> Any:
        counts[operation.name] = counts.get(operation.name, 0) + 1
        return perform()

    return hook
