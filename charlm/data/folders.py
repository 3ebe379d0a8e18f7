"""Text files of a folder: found by their content, in a fixed order; the others are counted."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from charlm.data.formats import HEAD_BYTES, sniff
from charlm.data.names import printable
from charlm.errors import ConfigError, InputNotFoundError
from charlm.results.text import LeftOut, TextNote

LEFT_OUT: dict[LeftOut, str] = {  # reason in words, of any number of files
    "archive": "archive(s)",
    "compressed": "compressed file(s)",
    "binary": "binary file(s)",
    "encoding": "text(s) that are not UTF-8",
    "empty": "empty file(s)",
    "hidden": "hidden file(s) or folder(s)",
}


class Folder(NamedTuple):
    """Files of a folder."""

    texts: list[Path]  # sorted
    left_out: tuple[TextNote, ...]  # one note per reason


def text_files(folder: Path) -> Folder:
    """Return all text files below a folder, by what they begin with.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises:
        InputNotFoundError: There is no text, or a file or folder cannot be read.
    """
    texts: list[Path] = []
    left_out: dict[LeftOut, list[Path]] = {}
    for path in _walk(folder, left_out):
        with path.open("rb") as file:
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


def matching_files(folder: Path, glob: str) -> list[Path]:
    """Return all files below a folder that match a pattern, sorted, whatever they contain.

    Raises:
        InputNotFoundError: No file matches.
        ConfigError: The pattern is invalid.
    """
    for _ in os.walk(folder, onerror=_raise):  # glob skips what it cannot list
        pass
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


def _raise(error: OSError) -> NoReturn:
    raise error
