"""Downloaded corpora on disk: each in a directory of the cache, checked before it is read."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from charlm.data.catalog import BUILT_IN, CatalogEntry, catalog
from charlm.errors import DataError, InputNotFoundError
from charlm.results.corpora import (
    CorpusEntry,
    CorpusList,
    Split,
    StoredCorpus,
    TextCheck,
)
from charlm.storage import files
from charlm.storage.json_files import encode_json, read_json

RECORD = "corpus.json"


class CorpusFile(NamedTuple):
    """File of a downloaded corpus."""

    path: Path
    split: Split  # that it is; empty: none of its own


def corpora_directory() -> Path:
    """Return the directory of all downloaded corpora."""
    return files.cache_directory() / "corpora"


def corpus_directory(name: str) -> Path:
    """Return the directory of a downloaded corpus."""
    return corpora_directory() / name


def load_stored(name: str) -> StoredCorpus | None:
    """Return what was downloaded of a corpus; None if it is not complete.

    Raises:
        DataError: Its record is damaged.
    """
    path = corpus_directory(name) / RECORD
    return read_json(path, StoredCorpus) if path.exists() else None


def corpus_files(name: str) -> list[CorpusFile]:
    """Return the files of a downloaded corpus, after checking their SHA-256.

    Raises:
        InputNotFoundError: It is not downloaded.
        DataError: A file is damaged.
    """
    stored = load_stored(name)
    if stored is None:
        own = f", or ./{name} for the file of that name" if Path(name).exists() else ""
        raise InputNotFoundError(
            f"cannot read {name}: it is not downloaded. Try charlm corpora get {name}{own}"
        )
    for check in verify_corpus(name, stored):
        if check.problem:
            raise DataError(
                f"cannot read {name}: {check.file} {check.problem}. Try charlm corpora get {name}"
            )
    directory = corpus_directory(name)
    return [CorpusFile(directory / text.file, text.split) for text in stored.texts]


def verify_corpus(name: str, stored: StoredCorpus) -> Iterator[TextCheck]:
    """Check the SHA-256 of each text of a corpus."""
    for text in stored.texts:
        path = corpus_directory(name) / text.file
        problem = ""
        try:
            if path.stat().st_size != text.bytes:
                problem = f"has {path.stat().st_size:,} bytes, not {text.bytes:,}"
            elif (found := file_sha256(path)) != text.sha256:
                problem = f"has the SHA-256 {found[:12]}…, not {text.sha256[:12]}…"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        yield TextCheck(corpus=name, file=text.file, sha256=text.sha256, problem=problem)


def list_corpora() -> CorpusList:
    """Return all corpora that can be named, and where the downloaded ones lie."""
    entries = [
        CorpusEntry(
            name=name,
            title=title,
            state="built_in",
            path="",
            download_bytes=0,
            hashes=(),
            urls=(),
            splits="90/5/5",
            licence="that of Python",
            source="https://www.python.org",
            citation="Python Software Foundation",
        )
        for name, title in BUILT_IN.items()
    ]
    entries += [_describe(name, entry) for name, entry in catalog().items()]
    return CorpusList(directory=str(corpora_directory()), corpora=tuple(entries))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe(name: str, entry: CatalogEntry) -> CorpusEntry:
    is_stored = (corpus_directory(name) / RECORD).exists()
    fields = ("title", "splits", "licence", "source", "citation")
    return CorpusEntry(
        name=name,
        state="downloaded" if is_stored else "absent",
        path=str(corpus_directory(name)) if is_stored else "",
        download_bytes=sum(download.bytes for download in entry.downloads),
        hashes=tuple(download.hash for download in entry.downloads),
        urls=tuple(download.url for download in entry.downloads),
        **{field: getattr(entry, field) for field in fields},
    )


def write_stored(name: str, stored: StoredCorpus) -> None:
    """Record that a corpus is complete."""
    files.write_atomic(corpus_directory(name) / RECORD, encode_json(stored))
