"""Interception of the operations by which a process changes files, to inject faults into them.

Functions of `os` are replaced in a forked process; files that Python's `open` writes are
intercepted as well. Only operations below one directory count.
"""

import os
import random
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

from faults.python_files import intercept_python_files

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
            hook(
                Operation("close", name, descriptor=descriptor),
                lambda: ORIGINAL["close"](descriptor),
            )
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
                supported.add(fake)  # type: ignore[arg-type]
    intercept_python_files(open_, close, write)


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

    A file whose synchronization has failed must not be synchronized again, since the kernel has
    forgotten the error: a process that does so is aborted.

    Args:
        number: Which one; the first is 0. See `can_fail`.
        code: Number of the error.
        for_good: Whether all later writes fail, too, as on a full disk.
    """
    count = -1
    written: set[int] = set()
    unsynced: set[int] = set()

    def hook(operation: Operation, perform: Perform) -> Any:
        nonlocal count
        descriptor = operation.descriptor
        counts = can_fail(operation, written)
        count += counts
        fails = counts and (count == number or (for_good and count > number))
        if operation.name == "fsync" and descriptor in unsynced:
            os.abort()
        if operation.name == "close":
            unsynced.discard(descriptor)
            perform()
        if fails:
            if operation.name == "fsync":
                unsynced.add(descriptor)
            raise OSError(code, os.strerror(code), operation.path)
        return None if operation.name == "close" else perform()

    return hook


def can_fail(operation: Operation, written: set[int]) -> bool:
    """Return whether an operation is one that fails: all but removing, and closing what was read.

    Args:
        operation: Operation.
        written: Descriptors that were written to, which this function keeps.
    """
    if operation.name == "write":
        written.add(operation.descriptor)
    if operation.name == "close":
        was_written = operation.descriptor in written
        written.discard(operation.descriptor)
        return was_written
    return operation.name not in ("unlink", "remove", "rmdir")


def count_operations(counts: dict[str, int]) -> Hook:
    """Return a hook that counts operations by name, and as "faults" those that `fail` counts."""
    written: set[int] = set()

    def hook(operation: Operation, perform: Perform) -> Any:
        for name in (operation.name, "all", *["faults"] * can_fail(operation, written)):
            counts[name] = counts.get(name, 0) + 1
        return perform()

    return hook
