"""Checks of the files that a command of compression reads and writes."""

import os
from pathlib import Path

from charlm.errors import InputNotFoundError, UsageError
from charlm.storage import files

STANDARD_STREAM = Path("-")  # what this name means to other programs


def check_input(path: Path) -> None:
    """Check that a path is a file that can be read.

    Raises:
        UsageError: It is "-".
        InputNotFoundError: It is no file, or cannot be read.
    """
    if path == STANDARD_STREAM:
        raise UsageError("cannot read -: standard input is not supported. Try a file")
    if path.is_dir():
        raise InputNotFoundError(f"cannot read {path}: it is a directory. Try a file")
    if not path.is_file():
        raise InputNotFoundError(f"cannot read {path}: there is no such file. Try another path")
    if not os.access(path, os.R_OK):
        raise InputNotFoundError(f"cannot read {path}: permission denied. Try another file")


def check_output(path: Path) -> None:
    """Check that a path can be the name of a new file.

    Raises:
        UsageError: It is "-".
        OutputExistsError: It exists.
    """
    if path == STANDARD_STREAM:
        raise UsageError("cannot write -: standard output is not supported. Try a file")
    files.check_new(path)
