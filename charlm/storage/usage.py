"""Use of a disk by the files of a directory."""

import os
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """Files of a directory."""

    size: int = 0  # bytes
    modified: float = 0.0  # last write: seconds since the epoch


def measure_usage(directory: Path) -> Usage:
    """Return size and last write of the files of a directory; links are not followed."""
    size, modified = 0, 0.0
    for path, _, names in os.walk(directory):
        for name in names:
            try:
                status = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue  # a live process has just replaced it
            size += status.st_size
            modified = max(modified, status.st_mtime)
    return Usage(size, modified)
