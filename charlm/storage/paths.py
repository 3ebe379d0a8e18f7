"""Paths as words of a command line."""

from pathlib import Path


def path_word(path: Path) -> str:
    """Return a path as a word of a command line that nobody takes for an option, as -x is one."""
    return f"./{path}" if str(path).startswith("-") else str(path)
