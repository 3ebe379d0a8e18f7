"""Text files of a folder: found by their content, in a fixed order; the others are counted."""

import fnmatch
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from charlm.data.formats import HEAD_BYTES, sniff
from charlm.data.names import printable
from charlm.data.readers import open_plain
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.results.text import MAX_NAME_LENGTH, LeftOut, SourceSize, TextNote

LEFT_OUT: dict[LeftOut, str] = {  # reason in words, of any number of files
    "archive": "archive(s)",
    "compressed": "compressed file(s)",
    "binary": "binary file(s)",
    "encoding": "text(s) that are not UTF-8",
    "empty": "empty file(s)",
    "hidden": "hidden file(s) or folder(s)",
}


MAX_ENTRIES = 100_000  # files and folders in a folder that a run names, not a person
KERNEL_FOLDERS = ("/dev", "/proc", "/sys")  # whose files are none of a disk
MAX_PATTERN_NAMES = 100  # of folders in a pattern: each takes time for each file
MEMORY_FOLDER = "/dev/shm"  # has files of persons


class Folder(NamedTuple):
    """Files of a folder."""

    texts: list[Path]  # sorted
    left_out: tuple[TextNote, ...]  # one note per reason


def text_files(folder: Path, run_bytes: int | None = None) -> Folder:
    """Return all text files below a folder, by what they begin with.

    Hidden files and folders are left out, and links to folders are not followed.

    Args:
        folder: Folder.
        run_bytes: Bytes of the text of a run that names the folder: no larger file is opened.

    Raises:
        InputNotFoundError: There is no text, or a file or folder cannot be read.
        DataError: A run names the folder, and it has too many files,
            or files that are on no disk.
    """
    texts: list[Path] = []
    left_out: dict[LeftOut, list[Path]] = {}
    for path in _visible_files(folder, left_out, run_bytes is not None):
        size = path.stat().st_size
        if run_bytes is not None and size > run_bytes:
            continue
        head = b""
        if size:  # others are empty, or of the kernel, where opening one may have an effect
            with open_plain(path) as file:
                head = file.read(HEAD_BYTES)
        if not head:
            left_out.setdefault("empty", []).append(path)
        elif found := sniff(head):
            left_out.setdefault(found.kind, []).append(path)
        else:
            texts.append(path)
    if not texts:
        counts = [
            f"{len(left_out[reason]):,} {words}"
            for reason, words in LEFT_OUT.items()
            if reason in left_out
        ]
        content, advice = "it is an empty folder", "Try another"
        if counts:
            content = f"it has {', '.join(counts)} and no text"
            advice = "Try another folder, or --glob PATTERN to read files whatever they contain"
        raise InputNotFoundError(f"cannot read {printable(folder)}: {content}. {advice}")
    notes = (
        TextNote("left_out", printable(min(left_out[reason])), len(left_out[reason]), reason=reason)
        for reason in LEFT_OUT
        if reason in left_out
    )
    return Folder(sorted(texts), tuple(notes))


def matching_files(folder: Path, glob: str, is_of_run: bool = False) -> list[Path]:
    """Return all files below a folder that match a pattern, sorted, whatever they contain.

    The pattern is one of `Path.glob`: "**" stands for any number of folders. Links to folders are
    not followed. The time is linear in the number of files, whatever the pattern.

    Args:
        folder: Folder.
        glob: Pattern, which cannot leave the folder.
        is_of_run: Whether a run names the folder, not a person.

    Raises:
        InputNotFoundError: No file matches.
        ConfigError: The pattern is invalid.
        DataError: A run names the folder, and it has too many files, or they are on no disk.
    """
    pattern = _Pattern(glob)
    states = {str(folder): pattern.start}
    paths: list[Path] = []
    for directory, folders, names in _walk(folder, is_of_run):
        state = states.pop(directory)
        states |= {os.path.join(directory, name): pattern.advance(state, name) for name in folders}
        found = (name for name in names if pattern.end in pattern.advance(state, name))
        paths += (path for name in found if (path := Path(directory, name)).is_file())
    if not paths:
        raise InputNotFoundError(
            f"cannot read {printable(folder)}: no file in it matches {glob}. Try another --glob"
        )
    return sorted(paths)


def files_on_disk(path: Path, glob: str, is_of_run: bool = False) -> SourceSize | None:
    """Return the size of a file, or of the files of a folder that are looked at; none is opened.

    Args:
        path: File or folder; of anything else the result is None.
        glob: Pattern of the files of a folder; empty: all that are not hidden.
        is_of_run: Whether a run names it, not a person.

    Raises:
        InputNotFoundError: No file matches the pattern.
        ConfigError: The pattern is invalid.
        DataError: A run names what is on no disk, or a folder with too many files.
    """
    if is_of_run:
        _check_is_on_disk(path)
    if path.is_dir():
        found = matching_files(path, glob, is_of_run) if glob else []
        paths = found or list(_visible_files(path, {}, is_of_run))
    elif path.is_file():
        paths = [path]
    else:
        return None
    return SourceSize(len(paths), sum(found.stat().st_size for found in paths))


class _Pattern:
    """Pattern of relative paths, matched name by name: all ways to match are followed at once."""

    def __init__(self, glob: str) -> None:
        """Read a pattern.

        Raises:
            ConfigError: It is invalid, or leaves the folder.
        """
        names = [name for name in glob.split("/") if name not in ("", ".")]
        pairs = pairwise(["", *names])
        names = [name for before, name in pairs if (before, name) != ("**", "**")]
        cause = ""
        if glob.startswith("/") or ".." in names:
            cause, advice = "it leaves the folder", "another folder"
        elif not names or any("**" in name and name != "**" for name in names):
            cause, advice = "'**' can only be a whole name of a folder", "another pattern"
        elif len(names) > MAX_PATTERN_NAMES or len(glob) > MAX_NAME_LENGTH:
            cause, advice = "it is too long", "a shorter pattern"
        if cause:
            raise ConfigError(f"cannot use --glob {glob[:100]}: {cause}. Try {advice}")
        self._names = [
            None if name == "**" else re.compile(fnmatch.translate(name)) for name in names
        ]
        self.end = len(names)
        self.start = self._close({0})

    def advance(self, state: frozenset[int], name: str) -> frozenset[int]:
        """Return what is matched after one more name: the indices of what may follow."""
        following = set()
        for index in state - {self.end}:
            expression = self._names[index]
            if expression is None:
                following.add(index)
            elif expression.match(name):
                following.add(index + 1)
        return self._close(following)

    def _close(self, state: set[int]) -> frozenset[int]:
        """Add what may follow if each "**" stands for nothing."""
        for index, expression in enumerate(self._names):
            if expression is None and index in state:
                state.add(index + 1)
        return frozenset(state)


def _visible_files(
    folder: Path, left_out: dict[LeftOut, list[Path]], is_of_run: bool
) -> Iterator[Path]:
    """Iterate over the regular files that are not hidden."""
    for directory, folders, names in _walk(folder, is_of_run):
        hidden = [name for name in (*folders, *names) if name.startswith(".")]
        if hidden:
            left_out.setdefault("hidden", []).extend(Path(directory, name) for name in hidden)
        folders[:] = [name for name in folders if name not in hidden]
        paths = (Path(directory, name) for name in names if name not in hidden)
        yield from (path for path in paths if path.is_file())


def _walk(folder: Path, is_of_run: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """Iterate over a folder and those in it, with the names of the folders and files in them.

    It is `os.walk` for any depth, where a link to a folder counts as a file. What the caller
    removes from the folders is not entered. Of a run, number and place of the files are checked.
    """
    waiting, count, device = [str(folder)], 0, folder.stat().st_dev
    while waiting:
        directory = waiting.pop()
        folders: list[str] = []
        names: list[str] = []
        if is_of_run and os.stat(directory).st_dev != device:
            raise _place_error(Path(directory))
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                if is_of_run and count > MAX_ENTRIES:
                    raise DataError(
                        f"cannot read the text of the run in {printable(folder)}: it has more than "
                        f"{MAX_ENTRIES:,} files and folders. Try --corpus with the text of the run"
                    )
                if is_of_run and entry.is_symlink() and entry.is_file():
                    _check_is_on_disk(Path(entry.path))
                (folders if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
        yield directory, folders, names
        waiting += (os.path.join(directory, name) for name in folders)


def _check_is_on_disk(path: Path) -> None:
    """Raise DataError if a path, which a run names, is none or leads to files of the kernel."""
    if "\0" in str(path):
        raise _place_error(path)
    real = os.path.realpath(path)
    is_of_kernel = any(f"{real}/".startswith(f"{folder}/") for folder in KERNEL_FOLDERS)
    if is_of_kernel and not real.startswith(f"{MEMORY_FOLDER}/"):
        raise _place_error(path)


def _place_error(path: Path) -> DataError:
    return DataError(
        f"cannot read the text of the run in {printable(path)}: it is no regular file or folder of "
        "the same disk. Try --corpus with the text of the run"
    )
