"""The only module that writes what must survive: beside, fsynced, renamed, directory fsynced.

A reader sees the old content or the new, never a mixture, after a kill or a power cut at any
moment.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm.errors import StorageError

TEMP_PREFIX = ".tmp-"
TEMP_NAME = re.compile(re.escape(TEMP_PREFIX) + r".+-\d+-[0-9a-f]{8}")


@contextmanager
def translate_os_errors(doing: str, path: Path) -> Iterator[None]:
    """What the operating system refuses becomes one line with the place and the space left."""
    try:
        yield
    except OSError as error:
        try:
            room = f"; {free_bytes(path) / 1e6:,.1f} MB are free there"
        except OSError:
            room = ""
        raise StorageError(
            f"cannot {doing} {path}: {error.strerror or error}{room}. "
            "Mend that, then run the same command again"
        ) from error


def free_bytes(path: Path) -> int:
    """Bytes that are free where it is, or would be."""
    place = next(p for p in (path, *path.absolute().parents) if p.exists())
    return shutil.disk_usage(place).free


def _write(descriptor: int, data: bytes | memoryview) -> None:
    """All of data. A nearly full disk writes less than it is given without raising: so a loop."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: Path, data: bytes | memoryview) -> None:
    """A new file with these bytes, on the disk when this returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
        if os.fstat(descriptor).st_size != len(data):
            raise OSError(f"{len(data)} bytes were written and fewer are there")
    finally:
        os.close(descriptor)


def _temporary_path(path: Path) -> Path:
    """A new name in the same directory, so that the rename stays within one file system."""
    return path.parent / f"{TEMP_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"


def cache_directory() -> Path:
    """Of encoded texts and built kernels: $CHARLM_CACHE or the user's; to be emptied any time."""
    if chosen := os.environ.get("CHARLM_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "charlm"


def make_directory(path: Path) -> None:
    """The directory and its parents, if they are not there."""
    with translate_os_errors("create", path):
        path.mkdir(parents=True, exist_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """The file holds exactly these bytes, whatever was there before."""
    temporary = _temporary_path(path)
    with translate_os_errors("write", path):
        try:
            _create(temporary, data)
            os.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)


def write_directory_atomic(path: Path, files: Mapping[str, bytes]) -> None:
    """A directory with exactly these files appears, whole; one of that name is replaced."""
    temporary = _temporary_path(path)
    with translate_os_errors("write", path):
        try:
            os.mkdir(temporary)
            for name, data in files.items():
                _create(temporary / name, data)
            _sync_directory(temporary)
            if path.exists():  # a directory cannot be renamed over one that has files
                remove(path)
            os.rename(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_directory(path.parent)


class AtomicFileWriter:
    """A large file written piece by piece; it appears under its name on `commit`, or never."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = _temporary_path(path)
        self.size = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with translate_os_errors("write", path):
            self.descriptor = os.open(self.temporary, flags, 0o666)

    def __enter__(self) -> "AtomicFileWriter":
        return self

    def write(self, data: bytes | memoryview) -> None:
        with translate_os_errors("write", self.path):
            _write(self.descriptor, data)
        self.size += len(data)

    def commit(self) -> None:
        with translate_os_errors("write", self.path):
            os.fsync(self.descriptor)
            if os.fstat(self.descriptor).st_size != self.size:
                raise OSError(f"{self.size} bytes were written and fewer are there")
            os.rename(self.temporary, self.path)
            _sync_directory(self.path.parent)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        self.temporary.unlink(missing_ok=True)


class AppendOnlyLog:
    """A file of lines that only grows; one write a line, so that only the last can be torn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with translate_os_errors("write", path):
            self.descriptor = os.open(path, flags, 0o666)
            size = os.fstat(self.descriptor).st_size
            if size and os.pread(self.descriptor, 1, size - 1) != b"\n":
                _write(self.descriptor, b"\n")  # a torn line stays alone

    def append(self, line: bytes) -> None:
        with translate_os_errors("write", self.path):
            _write(self.descriptor, line + b"\n")

    def sync(self) -> int:
        """Everything appended is on the disk; returns the length of the file in bytes."""
        with translate_os_errors("write", self.path):
            os.fsync(self.descriptor)
            return os.fstat(self.descriptor).st_size

    def truncate(self, length: int) -> None:
        """Forget what was appended after this length: the run goes back to a checkpoint."""
        with translate_os_errors("shorten", self.path):
            if os.fstat(self.descriptor).st_size > length:
                os.ftruncate(self.descriptor, length)
                os.fsync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


def remove(path: Path) -> None:
    """A directory of ours goes: first out of sight in one step, then for good."""
    with translate_os_errors("remove", path):
        hidden = path if path.name.startswith(TEMP_PREFIX) else _temporary_path(path)
        if hidden != path:
            os.rename(path, hidden)
        shutil.rmtree(hidden)


def remove_stale_temporaries(directory: Path, older: float = 0) -> None:
    """Remove what a killed writer left half done at least so many seconds ago.

    Only for who alone writes there, or where nobody takes so long.
    """
    for left in directory.glob(f"{TEMP_PREFIX}*"):
        with suppress(FileNotFoundError):
            if TEMP_NAME.fullmatch(left.name) and time.time() - left.stat().st_mtime >= older:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
