"""Names of files in records and messages, also of files whose names are not UTF-8."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

URI = "file:///"
SHOWN_NAMES = 3  # in a message


def printable(name: str | Path) -> str:
    r"""Return a name for messages and reports: \x and two digits for bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def printable_names(names: Sequence[str]) -> str:
    """Return names for messages: the first ones, and the number of the others."""
    shown = " ".join(map(printable, names[:SHOWN_NAMES]))
    others = len(names) - SHOWN_NAMES
    return f"{shown} and {others:,} more" if others > 0 else shown


def absolute(name: str | Path) -> str:
    """Return a path as a run records it: absolute, and a file URI if it is not UTF-8.

    JSON cannot hold a name that is not UTF-8.
    """
    path = Path(name).absolute()
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return path.as_uri()
    return str(path)


def as_path(name: str | Path) -> Path:
    """Return the path that a name stands for: a path, or a file URI."""
    text = str(name)
    if not text.startswith(URI):
        return Path(name)
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix("file://"))))
