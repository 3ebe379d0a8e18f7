"""Temporary directories in memory, for hazards that do not depend on the disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")


@contextmanager
def memory_directory() -> Iterator[Path]:
    """Create a directory in which a sync takes no time, where the system has one."""
    parent = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=parent) as directory:
        work = Path(directory) / "work"  # what a process prints lies beside its directory
        work.mkdir()
        yield work


@contextmanager
def place(directory: Path) -> Iterator[Path]:
    """Create a folder for one trial, and remove it with all that is in it."""
    folder = Path(tempfile.mkdtemp(dir=directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
