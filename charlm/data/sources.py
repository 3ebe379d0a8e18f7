"""Text sources: files, folders, standard input, compressed files and named corpora.

Nothing is rewritten: a corpus is exactly the concatenated bytes of its sources.
"""

import gzip
import io
import lzma
import os
import sys
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from charlm.data.catalog import catalog, corpus_names
from charlm.data.corpus_cache import corpus_files
from charlm.data.folders import matching_files, text_files
from charlm.data.names import absolute, as_path, printable
from charlm.data.readers import (
    CHUNK_BYTES,
    PIPE_LIMIT,
    UNPACKERS,
    Limit,
    Opener,
    compressed_limit,
    lay_aside,
    open_compressed,
    open_plain,
    read_pipe,
    run_limit,
    special_file_error,
)
from charlm.errors import DataError, InputNotFoundError
from charlm.results.text import TextNote

CONTINUATION_BYTES = bytes(range(0x80, 0xC0))  # of a character in UTF-8
SPLITS = ("train", "valid", "test")
T = TypeVar("T")
EXCLUDED_DIRECTORIES = frozenset(  # of python-source: tests, packages, and tables instead of code
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    | {"encodings", "pydoc_data"}
)


@dataclass(frozen=True)
class TextSource:
    """Bytes that can be read from the start any number of times."""

    name: str  # for messages
    open: Opener
    path: str = ""  # relative to the directory or corpus that was named
    span: tuple[int, int] | None = None  # first byte that is read and one past the last; None: all
    limit: Limit | None = None  # of the bytes that it gives

    def excerpt(self, start: int, end: int) -> "TextSource":
        """Return the source of these of its bytes alone."""
        first, last = self.span or (0, sys.maxsize)
        return replace(self, span=(first + start, min(first + end, last)))

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes in chunks.

        Raises:
            DataError: A compressed file is damaged, or it gives more bytes than its limit.
            InputNotFoundError: The source cannot be read.
        """
        try:
            with self.open() as file:
                start, end = self.span or (0, sys.maxsize)
                file.seek(start)
                remaining = end - start
                while chunk := file.read(min(CHUNK_BYTES, remaining)):
                    remaining -= len(chunk)
                    if self.limit:
                        self.limit.check(self.name, end - remaining)
                    yield chunk
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
            raise _damaged_archive_error(self.name, error) from error
        except OSError as error:
            if error.errno is None:  # bz2 reports invalid data as a bare OSError
                raise _damaged_archive_error(self.name, error) from error
            raise unreadable_error(self.name, error) from error


class ResolvedSources(NamedTuple):
    """Sources of the texts that were named, with notes on them."""

    sources: list[TextSource]
    notes: tuple[TextNote, ...] = ()  # on files of folders that were left out
    splits: Mapping[str, list[TextSource]] = {}  # of a corpus that is split by convention


def resolve_sources(
    names: Sequence[str], glob: str = "", vocab: str = "chars", run_bytes: int | None = None
) -> ResolvedSources:
    """Return the sources that names stand for, in their order; files of a folder sorted.

    Args:
        names: Files, folders, "-" for standard input, or names of corpora.
        glob: Pattern of the files that are read in a folder; empty: all text files.
        vocab: "chars" if no split may begin within a character.
        run_bytes: Bytes of the text of a run that has recorded these names: only regular files
            are opened, in a folder none of more bytes, and a compressed one is read no further.
            None: a person has given the names.

    Raises:
        InputNotFoundError: A source does not exist, is empty or cannot be read.
        ConfigError: The pattern is invalid.
        DataError: A downloaded corpus is damaged, or a path leads to a device.
        StorageError: Standard input or a pipe cannot be laid aside.
    """
    resolved = [_resolve(name, glob, vocab, run_bytes) for name in names]
    return ResolvedSources(
        [source for one in resolved for source in one.sources],
        tuple(note for one in resolved for note in one.notes),
        resolved[0].splits if len(resolved) == 1 else {},
    )


def absolute_name(name: str) -> str:
    """Return the name as a run records it: valid in any working directory."""
    return name if name == "-" or name in corpus_names() else absolute(as_path(name))


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


BUILT_IN_SOURCES: dict[str, Callable[[], list[TextSource]]] = {
    "python-docs": python_docs,
    "python-source": python_source,
}


def _resolve(name: str, glob: str, vocab: str, run_bytes: int | None) -> ResolvedSources:
    path = as_path(name)
    try:
        if name == "-":
            return ResolvedSources([_standard_input()])
        if name in BUILT_IN_SOURCES:
            return ResolvedSources(BUILT_IN_SOURCES[name]())
        if name in catalog():
            return _downloaded(name, vocab)
        if path.is_dir() and glob:
            matching = matching_files(path, glob, run_bytes is not None)
            return ResolvedSources([_file_source(file, path, run_bytes) for file in matching])
        if path.is_dir():
            folder = text_files(path, run_bytes)
            files = [_file_source(file, path, run_bytes, is_plain=True) for file in folder.texts]
            return ResolvedSources(files, folder.left_out)
        if path.is_file():
            return ResolvedSources([_file_source(path, path.parent, run_bytes)])
        if path.exists():
            return ResolvedSources([_pipe(path, run_bytes)])
    except OSError as error:
        raise unreadable_error(printable(name), error) from error
    raise _missing_error(name)


def _standard_input() -> TextSource:
    if sys.stdin is None:
        raise InputNotFoundError(
            "cannot read text: standard input is closed. Try charlm train FILE, or a pipe"
        )
    opener = lay_aside("standard input", read_pipe(sys.stdin.buffer), PIPE_LIMIT)
    return TextSource("-", opener, "-")


def _pipe(path: Path, run_bytes: int | None) -> TextSource:
    """Return what a pipe gives that a person has named; other special files are refused."""
    if run_bytes is not None or not path.is_fifo():
        raise special_file_error(path)
    name = printable(path)
    with path.open("rb") as pipe:
        return TextSource(name, lay_aside(name, read_pipe(pipe), PIPE_LIMIT), name)


def _downloaded(name: str, vocab: str) -> ResolvedSources:
    """Return the texts of a downloaded corpus, and its conventional splits."""
    sources: list[TextSource] = []
    splits: dict[str, list[TextSource]] = {}
    for path, split in corpus_files(name):
        sources.append(_file_source(path, path.parent, None, is_plain=True))
        if split:
            splits.setdefault(split, []).append(sources[-1])
    if sizes := catalog()[name].split_bytes:
        (source,) = sources
        edges = [_edge(source, edge, vocab) for edge in accumulate(sizes, initial=0)]
        parts = (source.excerpt(start, end) for start, end in pairwise(edges))
        splits = {split: [part] for split, part in zip(SPLITS, parts, strict=True)}
    return ResolvedSources(sources, (), splits)


def _edge(source: TextSource, edge: int, vocab: str) -> int:
    """Return a place in a text, or that of the next character if it is within one."""
    with source.open() as file:
        file.seek(edge)
        following = file.read(4) if vocab == "chars" else b""
    return edge + len(following) - len(following.lstrip(CONTINUATION_BYTES))


def _missing_error(name: str) -> InputNotFoundError:
    near = get_close_matches(name, corpus_names(), n=1)
    advice = f"Try {near[0]}" if near else "Try a path, or one of charlm corpora list"
    return InputNotFoundError(
        f"cannot read {printable(name)}: there is no such file, and no corpus of that name. "
        f"{advice}"
    )


def _file_source(
    path: Path, root: Path, run_bytes: int | None = None, *, is_plain: bool = False
) -> TextSource:
    """Return the text of a file, unpacked if its name says so and it is not read as it is."""
    unpack = None if is_plain else UNPACKERS.get(path.suffix)
    name, limit = printable(path), None
    if unpack:
        limit = compressed_limit(path.stat().st_size)
        if run_bytes is not None and run_bytes < limit.bytes:
            limit = run_limit(run_bytes)
    return TextSource(
        name,
        open_compressed(path, unpack) if unpack else partial(open_plain, path),
        path.relative_to(root).as_posix(),
        limit=limit,
    )


def _damaged_archive_error(name: str, error: Exception) -> DataError:
    return DataError(f"cannot read text: {name} cannot be unpacked: {error}. Try to pack it again")


def unreadable_error(name: str, error: OSError) -> InputNotFoundError:
    """Return the error of a source that the system does not let us read."""
    return InputNotFoundError(
        f"cannot read {name}: {error.strerror}. Try another path or check its permissions"
    )
