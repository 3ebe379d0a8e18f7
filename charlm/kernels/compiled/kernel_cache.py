"""Cache of compiled kernels: libraries are loaded only if nobody else can have written them."""

import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm.errors import ConfigError, DataError, LockedError, StorageError
from charlm.storage import files, trust
from charlm.storage.lock import in_use
from charlm.storage.private_cache import OTHER_CACHE, open_private_cache
from charlm.storage.reading import MissingFileError, open_regular_file

MAX_LIBRARY_BYTES = 2**26
HASH_LENGTH = 32  # hexadecimal digits of a SHA-256 in a name: 128 bits

logger = logging.getLogger("charlm")


class UnavailableKernelError(ConfigError):
    """A kernel that cannot be compiled here; `reason` is the cause without a hint."""

    def __init__(self, reason: str, hint: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}. Try --kernel loop, or {hint}")


class KernelCacheError(UnavailableKernelError):
    """A cache from which compiled kernels cannot be loaded, or that cannot keep them."""

    def __init__(self, directory: Path, cause: str) -> None:
        super().__init__(f"kernels cannot be kept in {directory}: {cause}", OTHER_CACHE)


@contextmanager
def open_kernel_cache() -> Iterator[Path]:
    """Yield the directory of the libraries; it is not cleaned until the block ends.

    Where others may write the cache, or this process cannot, it is a temporary one.

    Raises:
        KernelCacheError: Others may write the temporary one, too; or it cannot be read or written.
    """
    directory = files.cache_directory().absolute() / "kernels"
    try:
        with open_private_cache("kernels") as directory:
            if distrust := trust.distrust_reason(directory):
                raise KernelCacheError(directory.parent, distrust.cause)
            with in_use(directory):
                yield directory
    except OSError as error:
        raise KernelCacheError(directory, error.strerror or str(error)) from error
    except StorageError as error:
        cause = (
            str(error.__cause__.strerror) if isinstance(error.__cause__, OSError) else str(error)
        )
        raise KernelCacheError(directory, cause) from error
    except LockedError as error:
        raise KernelCacheError(directory, "another process is removing files from it") from error


def find_library(directory: Path, key: str) -> Path | None:
    """Return the library of a key that is whole and ours; remove every other one, and say so."""
    for path in sorted(directory.glob(f"{key}-*.so")):
        try:
            problem = _find_problem(path)
        except MissingFileError:  # another process has removed it
            continue
        if not problem:
            return path
        logger.warning(
            "note: the compiled kernel %s is not used: %s. It is compiled again", path, problem
        )
        with suppress(OSError):
            path.unlink()
    return None


def _find_problem(path: Path) -> str:
    """Return why a file is not a library that this user has built, or ""."""
    try:
        with open_regular_file(path, MAX_LIBRARY_BYTES) as file:
            if distrust := trust.distrust_status(os.fstat(file.fileno()), path):
                return distrust.cause
            digest = hashlib.sha256(file.read()).hexdigest()
    except MissingFileError:
        raise
    except DataError:
        return "it is no regular file of a library's size"
    return "" if path.stem.partition("-")[2] == digest[:HASH_LENGTH] else "it is damaged"


def keep_library(directory: Path, key: str, data: bytes) -> Path:
    """Write a library into the cache, under its key and its hash, and return its path."""
    digest = hashlib.sha256(data).hexdigest()[:HASH_LENGTH]
    path = directory / f"{key}-{digest}.so"
    files.write_atomic(path, data, mode=0o600)
    return path


@contextmanager
def build_directory(directory: Path) -> Iterator[Path]:
    """Yield a new directory in the cache, where nobody else can exchange what is built.

    What a killed process leaves of it is no library, and `charlm clean --cache` removes it.
    """
    path = directory / f"{files.TEMP_PREFIX}build-{os.getpid()}-{secrets.token_hex(4)}"
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
