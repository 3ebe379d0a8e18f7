"""Text files of a folder: found by their content, in a fixed order; the others are counted."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from charlm.data.formats import HEAD_BYTES, sniff
from charlm.data.names import printable
from charlm.data.readers import open_plain
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.results.text import LeftOut, TextNote

LEFT_OUT: dict[LeftOut, str] = {  # reason in words, of any number of files
    "archive": "archive(s)",
    "compressed": "compressed file(s)",
    "binary": "binary file(s)",
    "encoding": "text(s) that are not UTF-8",
    "empty": "empty file(s)",
    "hidden": "hidden file(s) or folder(s)",
}


MAX_FILES = 100_000  # of a folder that a run names, not a person


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
        DataError: A run names the folder, and it has too many files.
    """
    texts: list[Path] = []
    left_out: dict[LeftOut, list[Path]] = {}
    for number, path in enumerate(_walk(folder, left_out)):
        if run_bytes is not None and number >= MAX_FILES:
            raise _too_many_error(folder)
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
        content = f"it has {', '.join(counts)} and no text" if counts else "it is empty"
        raise InputNotFoundError(
            f"cannot read {printable(folder)}: {content}. "
            "Try another folder, or --glob for files as they are"
        )
    notes = (
        TextNote("left_out", printable(min(left_out[reason])), len(left_out[reason]), reason=reason)
        for reason in LEFT_OUT
        if reason in left_out
    )
    return Folder(sorted(texts), tuple(notes))


def matching_files(folder: Path, glob: str, run_bytes: int | None = None) -> list[Path]:
    """Return all files below a folder that match a pattern, sorted, whatever they contain.

    Args:
        folder: Folder.
        glob: Pattern, which cannot leave the folder.
        run_bytes: Bytes of the text of a run that names the folder; None: a person has named it.

    Raises:
        InputNotFoundError: No file matches.
        ConfigError: The pattern is invalid.
        DataError: A run names the folder, and it has too many files.
    """
    number = 0
    for _, _, names in os.walk(folder, onerror=_raise):  # glob skips what it cannot list
        number += len(names)
        if run_bytes is not None and number > MAX_FILES:
            raise _too_many_error(folder)
    if ".." in Path(glob).parts:
        raise ConfigError(f"cannot use --glob {glob}: it leaves the folder. Try another folder")
    try:
        paths = sorted(path for path in folder.glob(glob) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"cannot use --glob {glob}: {error}. Try another pattern") from error
    if not paths:
        raise InputNotFoundError(
            f"cannot read {printable(folder)}: no file in it matches {glob}. Try another --glob"
        )
    return paths


def _walk(folder: Path, left_out: dict[LeftOut, list[Path]]) -> Iterator[Path]:
    """Iterate over the regular files that are not hidden."""
    for directory, folders, names in os.walk(folder, onerror=_raise):
        hidden = [name for name in (*folders, *names) if name.startswith(".")]
        if hidden:
            left_out.setdefault("hidden", []).extend(Path(directory, name) for name in hidden)
        folders[:] = [name for name in folders if name not in hidden]
        paths = (Path(directory, name) for name in names if name not in hidden)
        yield from (path for path in paths if path.is_file())


def _too_many_error(folder: Path) -> DataError:
    return DataError(
        f"cannot read the text of the run in {printable(folder)}: it has more than {MAX_FILES:,} "
        "files. Try --corpus with the text of the run"
    )


def _raise(error: OSError) -> NoReturn:
    raise error
