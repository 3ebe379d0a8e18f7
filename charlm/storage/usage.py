"""Use of a disk by the files of a directory."""

import os
from pathlib import Path
from typing import NamedTuple

UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


class Usage(NamedTuple):
    """Files of a directory."""

    size: int = 0  # bytes
    modified: float = 0.0  # last write: seconds since the epoch


def describe_space(needed: int, free: int) -> str:
    """Return needed and free bytes, in the unit that suits what is needed; needed 0: unknown."""
    size = needed or free
    unit, scale = next(((unit, scale) for unit, scale in UNITS if size >= scale), ("bytes", 1))
    digits = 1 if scale > 1 else 0
    start = f"{needed / scale:,.{digits}f} {unit} are needed, " if needed else ""
    return f"{start}{free / scale:,.{digits}f} {unit} are free"


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
