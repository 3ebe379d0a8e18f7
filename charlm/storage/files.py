"""Atomic and durable writes: after a kill or power cut, a file is the old or the new one."""

import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm.errors import OutputExistsError, StorageError
from charlm.storage.usage import describe_space

TEMP_PREFIX = ".tmp-"
TEMP_NAME = re.compile(re.escape(TEMP_PREFIX) + r".+-\d+-[0-9a-f]{8}")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


@contextmanager
def translate_os_errors(verb: str, path: Path, needed: int = 0) -> Iterator[None]:
    """Raise an OSError of the block as StorageError: with its path, and the space that lacks.

    Args:
        verb: What the block does, such as "write".
        path: File or directory that it does it to.
        needed: Bytes that it writes; 0: unknown.
    """
    try:
        yield
    except OSError as error:
        cause, remedy = error.strerror or str(error), "Fix that, then run the same command again"
        if error.errno in FULL:
            with suppress(OSError):
                cause += f"; {describe_space(needed, free_bytes(path))} there"
        elif error.errno == errno.EROFS:
            remedy = "Copy the run to a directory that you can write, or choose another one"
        raise StorageError(f"cannot {verb} {path}: {cause}. {remedy}") from error


def free_bytes(path: Path) -> int:
    """Return the bytes of the file system of a path, which need not exist, that are free to us."""
    return shutil.disk_usage(next(p for p in (path, *path.absolute().parents) if p.exists())).free


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all bytes; a nearly full disk writes fewer at once without an error."""
    while data:
        data = memoryview(data)[os.write(descriptor, data) :]


def sync_directory(path: Path) -> None:
    """Make the names of a directory durable: those that it has, and that others are gone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: Path, data: bytes | memoryview, mode: int = 0o666) -> None:
    """Create a file with these bytes, which are on the disk when this returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        if os.fstat(descriptor).st_size != len(data):
            raise OSError(f"fewer than {len(data)} bytes were stored")
    finally:
        os.close(descriptor)


def temporary_path(path: Path) -> Path:
    """Return a new name in the same directory, so that a rename stays in one file system."""
    return path.parent / f"{TEMP_PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"


def cache_directory() -> Path:
    """Return the cache of encoded texts and compiled kernels; it may be emptied at any time.

    It is $CHARLM_CACHE, or else charlm in the user's cache directory.
    """
    if override := os.environ.get("CHARLM_CACHE"):
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "charlm")


def make_directory(path: Path) -> None:
    """Create a directory and its parents, unless they exist; new ones are on the disk."""
    with translate_os_errors("create", path):
        missing = [place for place in (path, *path.parents) if not place.is_dir()]
        for directory in reversed(missing):
            with suppress(FileExistsError):  # another process may remove it again
                directory.mkdir()
            sync_directory(directory.parent)
        with suppress(FileNotFoundError):  # another process may remove it again
            if not stat.S_ISDIR(os.stat(path).st_mode):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def check_new(path: Path, option: str = "path") -> None:
    """Check that a new file or directory can be written here; its parents may be missing.

    Args:
        path: Output.
        option: What the message says to try another of, such as "--out".

    Raises:
        OutputExistsError: It exists, if only as a link to nothing.
        StorageError: Its directory cannot be created or written.
    """
    if os.path.lexists(path):
        raise exists_error(path, option)
    parent = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        problem = "permission denied" if parent.is_dir() else "it is not a directory"
        raise StorageError(f"cannot write {path} in {parent}: {problem}. Try another {option}")


def exists_error(path: Path, option: str = "path") -> OutputExistsError:
    """Return the error of a new output whose name is taken; `option` is what to try another of."""
    return OutputExistsError(f"cannot write {path}: it exists. Try another {option}")


def write_new(path: Path, data: bytes) -> None:
    """Write a new file atomically.

    Raises:
        OutputExistsError: It exists.
    """
    with AtomicFileWriter(path) as file:
        file.write(data)
        file.commit()


def write_atomic(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file, or replace it, atomically; `mode` is its permissions before the umask."""
    temporary = temporary_path(path)
    with translate_os_errors("write", path, len(data)):
        try:
            create_file(temporary, data, mode)
            os.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


class AtomicFileWriter:
    """Writer of a large file, which appears under its name on `commit`, or never."""

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        """Open a temporary file next to `path`.

        Args:
            path: File.
            replace: Whether a file of this name is replaced.
        """
        self.path, self.replace = path, replace
        self.temporary = temporary_path(path)
        self.size, self.is_closed = 0, False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with translate_os_errors("write", path):
            self.descriptor = os.open(self.temporary, flags, 0o666)

    def __enter__(self) -> "AtomicFileWriter":
        return self

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        with translate_os_errors("write", self.path, self.size + len(data)):
            write_all(self.descriptor, data)
        self.size += len(data)

    def commit(self) -> None:
        """Make the file durable, close it and give it its name.

        Raises:
            OutputExistsError: A file has this name, and is not to be replaced.
        """
        with translate_os_errors("write", self.path, self.size):
            os.fsync(self.descriptor)
            if os.fstat(self.descriptor).st_size != self.size:
                raise OSError(f"fewer than {self.size} bytes were stored")
            self._close()  # which may fail: then there must be no file of this name
            if self.replace:
                os.rename(self.temporary, self.path)
            else:
                self._link()
            try:
                sync_directory(self.path.parent)
            except OSError:
                if not self.replace:  # so that the same command can be run again
                    self.path.unlink()
                raise

    def _link(self) -> None:
        """Give the file its name, unless another has it: a link never replaces, a rename does."""
        try:
            os.link(self.temporary, self.path)
        except FileExistsError as error:
            raise exists_error(self.path) from error
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            check_new(self.path)  # not atomic, but all that such a file system allows
            os.rename(self.temporary, self.path)
        else:
            os.unlink(self.temporary)

    def _close(self) -> None:
        if not self.is_closed:
            self.is_closed = True  # also if that fails: the system has closed it all the same
            os.close(self.descriptor)

    def __exit__(self, *_: object) -> None:
        with translate_os_errors("write", self.path, self.size):
            try:
                self._close()
            finally:
                self.temporary.unlink(missing_ok=True)


def remove_stale_temporaries(directory: Path, older: float = 0) -> None:
    """Remove unfinished files that killed writers left behind.

    Args:
        directory: Directory that no other process writes, or not for so long.
        older: Minimum age in seconds.
    """
    with translate_os_errors("remove unfinished files in", directory):
        for path in directory.glob(f"{TEMP_PREFIX}*"):
            with suppress(FileNotFoundError):
                status = path.lstat()  # a link is removed, not what it names
                if TEMP_NAME.fullmatch(path.name) and time.time() - status.st_mtime >= older:
                    shutil.rmtree(path) if stat.S_ISDIR(status.st_mode) else path.unlink()
