"""Text sources: files, directories, standard input, compressed files and built-in corpora.

Nothing is rewritten: a corpus is exactly the concatenated bytes of its sources.
"""

import bz2
import gzip
import io
import lzma
import os
import sys
import sysconfig
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TypeVar, cast

from charlm.errors import ConfigError, DataError, InputNotFoundError

CHUNK_BYTES = 1 << 22
T = TypeVar("T")
EXCLUDED_DIRECTORIES = frozenset(  # of python-source: tests, packages, and tables instead of code
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    | {"encodings", "pydoc_data"}
)


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": cast(Callable[[Path], IO[bytes]], gzip.open),
    ".bz2": cast(Callable[[Path], IO[bytes]], bz2.open),
    ".xz": cast(Callable[[Path], IO[bytes]], lzma.open),
}


@dataclass(frozen=True)
class TextSource:
    """Bytes that can be read from the start any number of times."""

    name: str  # for messages
    open: Callable[[], IO[bytes]]
    path: str = ""  # relative to the directory or corpus that was named
    span: tuple[int, int] | None = None  # first byte that is read and one past the last; None: all

    def excerpt(self, start: int, end: int) -> "TextSource":
        """Return the source of these bytes alone."""
        return replace(self, span=(start, end))

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes in chunks.

        Raises:
            DataError: A compressed file is damaged.
            InputNotFoundError: The source cannot be read.
        """
        try:
            with self.open() as file:
                start, end = self.span or (0, sys.maxsize)
                file.seek(start)
                remaining = end - start
                while chunk := file.read(min(CHUNK_BYTES, remaining)):
                    remaining -= len(chunk)
                    yield chunk
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
            raise _damaged_archive_error(self.name, error) from error
        except OSError as error:
            if error.errno is None:  # bz2 reports invalid data as a bare OSError
                raise _damaged_archive_error(self.name, error) from error
            raise _unreadable_error(self.name, error) from error


def resolve_sources(names: Sequence[str], glob: str) -> list[TextSource]:
    """Return the sources that names stand for, in their order; files of a directory sorted.

    Args:
        names: Files, directories, "-" for standard input, or names of built-in corpora.
        glob: Pattern of the files that are read in a directory.

    Raises:
        InputNotFoundError: A source does not exist, is empty or cannot be read.
        ConfigError: The pattern is invalid.
    """
    sources: list[TextSource] = []
    for name in names:
        try:
            sources += _resolve(name, Path(name), glob)
        except OSError as error:
            raise _unreadable_error(name, error) from error
    return sources


def spool(name: str, pieces: Iterable[bytes]) -> TextSource:
    """Write bytes that can be read only once to an unlinked temporary file."""
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    with os.fdopen(os.dup(descriptor), "wb") as copy:
        copy.writelines(pieces)

    def reopen() -> IO[bytes]:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.fdopen(os.dup(descriptor), "rb")

    return TextSource(name, reopen, name)


def absolute_name(name: str) -> str:
    """Return the name as a run records it: valid in any working directory."""
    return name if name == "-" or name in NAMED_CORPORA else str(Path(name).absolute())


def make_paths_absolute(settings: Mapping[str, T]) -> dict[str, T | str]:
    """Return the settings with absolute paths of split files."""
    paths = {name: settings[name] for name in ("valid_file", "test_file") if settings.get(name)}
    return {**settings, **{name: absolute_name(str(path)) for name, path in paths.items()}}


def python_docs() -> list[TextSource]:
    """Return the reference texts of Python that `help()` shows; part of most Pythons.

    Raises:
        InputNotFoundError: This Python lacks pydoc_data.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputNotFoundError(
            "cannot read python-docs: this Python has no pydoc_data. Try a file"
        ) from error
    text = "\n".join(topics[name] for name in sorted(topics))
    return [TextSource("python-docs", partial(io.BytesIO, text.encode()), "python-docs")]


def python_source() -> list[TextSource]:
    """Return the sorted .py files of the standard library, without its tests and tables."""
    library = Path(sysconfig.get_path("stdlib"))
    paths: list[Path] = []
    for directory, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in EXCLUDED_DIRECTORIES]
        paths += [Path(directory, name) for name in names if name.endswith(".py")]
    if not paths:
        raise InputNotFoundError(
            f"cannot read python-source: there are no .py files under {library}. Try a file"
        )
    return [_file_source(path, library) for path in sorted(paths)]


NAMED_CORPORA: dict[str, Callable[[], list[TextSource]]] = {
    "python-docs": python_docs,
    "python-source": python_source,
}


def _resolve(name: str, path: Path, glob: str) -> list[TextSource]:
    if name == "-":
        if sys.stdin is None:
            raise InputNotFoundError("cannot read text: standard input is closed. Try a file")
        return [spool(name, iter(partial(sys.stdin.buffer.read, CHUNK_BYTES), b""))]
    if name in NAMED_CORPORA:
        return NAMED_CORPORA[name]()
    if path.is_dir():
        return [_file_source(file, path) for file in _list_directory(path, glob)]
    if path.is_file():
        return [_file_source(path, path.parent)]
    if path.exists():
        with path.open("rb") as pipe:
            return [spool(name, iter(partial(pipe.read, CHUNK_BYTES), b""))]
    raise InputNotFoundError(
        f"cannot read {name}: there is no such file, and no corpus of that name. "
        f"Try a path, or one of {', '.join(NAMED_CORPORA)}"
    )


def _list_directory(directory: Path, glob: str) -> list[Path]:
    for _ in os.walk(directory, onerror=_raise):  # glob skips what it cannot list
        pass
    try:
        paths = sorted(path for path in directory.glob(glob) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"cannot use --glob {glob}: {error}. Try another pattern") from error
    if not paths:
        raise InputNotFoundError(
            f"cannot read {directory}: no file in it matches {glob}. Try another --glob"
        )
    return paths


def _file_source(path: Path, root: Path) -> TextSource:
    opener = partial(OPENERS.get(path.suffix, _open_plain), path)
    return TextSource(str(path), opener, path.relative_to(root).as_posix())


def _raise(error: OSError) -> None:
    raise error


def _damaged_archive_error(name: str, error: Exception) -> DataError:
    return DataError(f"cannot read text: {name} cannot be unpacked: {error}. Try to pack it again")


def _unreadable_error(name: str, error: OSError) -> InputNotFoundError:
    return InputNotFoundError(
        f"cannot read {name}: {error.strerror}. Try another path or check its permissions"
    )
