"""Checks of the files that a command of compression reads."""

import os
from pathlib import Path

from charlm.errors import InputNotFoundError


def check_input(path: Path) -> None:
    """Check that a path is a file that can be read.

    Raises:
        InputNotFoundError: It is not.
    """
    if path.is_dir():
        raise InputNotFoundError(f"cannot read {path}: it is a directory. Try a file")
    if not path.is_file():
        raise InputNotFoundError(f"cannot read {path}: there is no such file. Try another path")
    if not os.access(path, os.R_OK):
        raise InputNotFoundError(f"cannot read {path}: permission denied. Try another file")
