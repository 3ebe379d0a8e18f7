"""Private cache: directories that this user alone can write, or temporary ones in their place."""

import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from charlm.storage import files, trust

OTHER_CACHE = "another directory in the environment variable CHARLM_CACHE"

logger = logging.getLogger("charlm")


@contextmanager
def open_private_cache(name: str = "") -> Iterator[Path]:
    """Yield a directory of the cache, which is created if there is none.

    Where others may write it, or this process cannot, it is neither read nor written. A temporary
    directory takes its place until the block ends; files that are open or loaded stay usable.

    Args:
        name: Directory in the cache; "": the cache itself.

    Raises:
        StorageError: No temporary directory can be created.
    """
    directory = files.cache_directory().absolute() / name
    problem = find_cache_problem(directory)
    if not problem:
        yield directory
        return
    _say_once(
        f"note: the cache {files.cache_directory()} is not used, so texts are encoded and kernels "
        f"compiled anew: {problem}"
    )
    with files.translate_os_errors("create", Path(os.environ.get("TMPDIR") or "/tmp", "charlm-")):
        temporary = tempfile.TemporaryDirectory(prefix="charlm-", ignore_cleanup_errors=True)
    with temporary as path:
        yield Path(path)


def find_cache_problem(directory: Path) -> str:
    """Return why a directory of the cache is not used, and what to try; "" if it is.

    It is created if there is none.
    """
    try:
        for path in (files.cache_directory(), directory):
            trust.make_private_directory(path)  # nothing is made in one that others may write
            if distrust := trust.distrust_reason(path):
                return f"{distrust.cause}. Try {distrust.remedy or OTHER_CACHE}"
        if not directory.is_dir():
            cause = errno.ENOTDIR
        elif os.access(directory, os.W_OK | os.X_OK):
            return ""
        else:
            is_read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
            cause = errno.EROFS if is_read_only else errno.EACCES
    except OSError as error:
        cause = error.errno or errno.EIO
    return f"{os.strerror(cause)}. Try {OTHER_CACHE}"


@cache
def _say_once(message: str) -> None:
    logger.warning(message)
