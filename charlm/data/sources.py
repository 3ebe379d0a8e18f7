"""Text in: files, directories, standard input, their compressed kinds and named corpora, as bytes.

Nothing is rewritten: the corpus is exactly the bytes of its sources, one after the other.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import sys
import sysconfig
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from charlm.errors import ConfigError, DataError, InputNotFoundError

CHUNK_BYTES = 1 << 22


def _plain(path: Path) -> IO[bytes]:
    return path.open("rb")


OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": cast(Callable[[Path], IO[bytes]], gzip.open),
    ".bz2": cast(Callable[[Path], IO[bytes]], bz2.open),
    ".xz": cast(Callable[[Path], IO[bytes]], lzma.open),
}


@dataclass(frozen=True)
class TextSource:
    """One stretch of text: what to call it, and how to read it from its beginning, any time."""

    name: str
    open: Callable[[], IO[bytes]]

    def chunks(self) -> Iterator[bytes]:
        try:
            with self.open() as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
            raise DataError(f"{self.name} cannot be unpacked: {error}. Pack it again") from error
        except OSError as error:
            if error.errno is None:  # bz2 says "Invalid data stream" as an OSError
                raise DataError(
                    f"{self.name} cannot be unpacked: {error}. Pack it again"
                ) from error
            raise _read_error(self.name, error) from error


def _read_error(name: str, error: OSError) -> InputNotFoundError:
    return InputNotFoundError(
        f"{name} cannot be read: {error.strerror}. Check the path and its permissions"
    )


def python_docs() -> list[TextSource]:
    """Python's own reference prose, as `help()` prints it: on every machine with Python."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputNotFoundError(
            "this Python has no pydoc_data: name a file instead of python-docs"
        ) from error
    text = "\n".join(topics[name] for name in sorted(topics))
    return [TextSource("python-docs", partial(io.BytesIO, text.encode()))]


def python_source() -> list[TextSource]:
    """The standard library's .py files in sorted order, without tests and site-packages."""
    library = Path(sysconfig.get_path("stdlib"))
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    files = sorted(
        file
        for file in library.rglob("*.py")
        if not left_out & set(file.relative_to(library).parts)
    )
    if not files:
        raise InputNotFoundError(
            f"no .py files under {library}: name a file instead of python-source"
        )
    return [_file(file) for file in files]


NAMED_CORPORA: dict[str, Callable[[], list[TextSource]]] = {
    "python-docs": python_docs,
    "python-source": python_source,
}


def _file(path: Path) -> TextSource:
    return TextSource(str(path), partial(OPENERS.get(path.suffix, _plain), path))


def _spool_to_disk(name: str, once: IO[bytes]) -> TextSource:
    """What can be read but once (standard input, a pipe) is laid aside in a file without a name."""
    aside, place = tempfile.mkstemp()
    os.unlink(place)
    with os.fdopen(os.dup(aside), "wb") as copy:
        shutil.copyfileobj(once, copy, CHUNK_BYTES)

    def again() -> IO[bytes]:
        os.lseek(aside, 0, os.SEEK_SET)
        return os.fdopen(os.dup(aside), "rb")

    return TextSource(name, again)


def resolve_sources(names: Sequence[str], glob: str) -> list[TextSource]:
    """What the words on the command line stand for, in their order; directories in sorted order."""
    found: list[TextSource] = []
    for name in names:
        try:
            found += _sources(name, Path(name), glob)
        except OSError as error:
            raise _read_error(name, error) from error
    return found


def _sources(name: str, path: Path, glob: str) -> list[TextSource]:
    if name == "-":
        if sys.stdin is None:
            raise InputNotFoundError("standard input is closed: there is nothing to read")
        return [_spool_to_disk(name, sys.stdin.buffer)]
    if name in NAMED_CORPORA:
        return NAMED_CORPORA[name]()
    if path.is_dir():
        for _ in os.walk(path, onerror=_raise):  # what cannot be listed would glob as empty
            pass
        try:
            files = sorted(file for file in path.glob(glob) if file.is_file())
        except (ValueError, NotImplementedError) as error:
            raise ConfigError(f"--glob {glob}: {error}") from error
        if not files:
            raise InputNotFoundError(f"no file in {name} matches {glob}: choose others with --glob")
        return [_file(file) for file in files]
    if path.is_file():
        return [_file(path)]
    if path.exists():
        with path.open("rb") as pipe:
            return [_spool_to_disk(name, pipe)]
    raise InputNotFoundError(
        f"there is no file {name}, and no corpus of that name; the corpora are {', '.join(NAMED_CORPORA)}"
    )


def _raise(error: OSError) -> None:
    raise error


def absolute_name(name: str) -> str:
    """The name as a run records it: it must mean the same from another directory."""
    return name if name == "-" or name in NAMED_CORPORA else str(Path(name).absolute())


def make_paths_absolute(given: dict[str, Any]) -> dict[str, Any]:
    """The settings that are paths made absolute: a run must find its texts from anywhere."""
    from charlm.data.sources import absolute_name

    texts = {name: given[name] for name in ("valid_file", "test_file") if given.get(name)}
    return {**given, **{name: absolute_name(path) for name, path in texts.items()}}
