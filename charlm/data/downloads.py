"""Downloads of standard corpora: checked by hash, unpacked, and recorded in the cache."""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pooch
from requests.exceptions import HTTPError, RequestException, TooManyRedirects

from charlm.data.catalog import CatalogDownload, CatalogEntry, CatalogText, find_corpus
from charlm.data.corpus_cache import (
    corpus_directory,
    file_sha256,
    load_stored,
    verify_corpus,
    write_stored,
)
from charlm.errors import DataError, InputNotFoundError
from charlm.progress import NoProgress, Progress, ProgressCallback
from charlm.results.corpora import FetchedCorpus, StoredCorpus, StoredDownload, StoredText
from charlm.storage import files
from charlm.storage.lock import exclusive_lock
from charlm.storage.trust import make_private_directory

CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30.0  # without a byte
MAX_TEXT_BYTES = 4 << 30  # of a text whose size is not published
TEMPORARY_FILES = "tmp" + "[a-z0-9_]" * 8  # of a download that was killed, as tempfile names them
# Some servers refuse the name of the library.
HEADERS = {"User-Agent": "charlm", "Accept-Encoding": "identity"}


def fetch_corpus(name: str, progress: Progress = NoProgress()) -> FetchedCorpus:
    """Download a corpus into the cache, unless it is there; or use the file that lies there.

    Nothing gets its name before its hash is checked. A download without a published hash is
    recorded with the SHA-256 that it has, which every later reading checks.

    Args:
        name: Name of a corpus of the catalog.
        progress: Receives the number of bytes downloaded, then unpacked.

    Raises:
        ConfigError: There is no corpus of this name.
        InputNotFoundError: The server cannot be reached, or does not have the file.
        DataError: A file is not what it should be.
        StorageError: The cache cannot be written.
        LockedError: Another process downloads it.
    """
    entry = find_corpus(name)
    directory = corpus_directory(name)
    with files.translate_os_errors("create", directory):
        make_private_directory(directory.parent)
    with exclusive_lock(directory):
        for temporary in directory.glob(TEMPORARY_FILES):
            temporary.unlink()
        stored = load_stored(name)
        if stored and any(check.problem for check in verify_corpus(name, stored)):
            for text in stored.texts:
                (directory / text.file).unlink(missing_ok=True)
            stored = None
        if stored is None:
            fetched = [_fetch(entry, name, download, progress) for download in entry.downloads]
            stored = StoredCorpus(
                downloads=tuple(download for download, _ in fetched),
                texts=tuple(text for _, texts in fetched for text in texts),
            )
            write_stored(name, stored)
            for download in entry.downloads:  # an archive is no longer needed
                if download.name not in {text.file for text in stored.texts}:
                    (directory / download.name).unlink(missing_ok=True)
    return FetchedCorpus(
        name=name, path=str(directory), downloads=stored.downloads, texts=stored.texts
    )


class ProgressBar:
    """Progress bar as pooch expects one, that refuses more bytes than there should be."""

    def __init__(self, url: str, size: int, count: ProgressCallback) -> None:
        """Create a bar of a download of this size."""
        self.url, self.size, self.count = url, size, count
        self.total = 0  # that the server announces; pooch sets it
        self.received = 0
        self.is_complete = False

    def update(self, received: int) -> None:
        """Count bytes; pooch counts the last chunk as a whole one."""
        if self.is_complete:
            return
        self.count(min(received, self.size - self.received) if self.received < self.size else 0)
        self.received += received
        if self.received >= self.size + 2 * CHUNK_BYTES:
            raise DataError(
                f"cannot use {self.url}: it is longer than {self.size:,} bytes, so it is another "
                "file. Try another day, or report it"
            )

    def reset(self) -> None:
        """End the count: what pooch adds then is the total, once more."""
        self.is_complete = True

    def close(self) -> None:
        """Do nothing: the display ends with its block."""


def _fetch(
    entry: CatalogEntry, name: str, download: CatalogDownload, progress: Progress
) -> tuple[StoredDownload, list[StoredText]]:
    """Download a file and unpack its texts."""
    path = corpus_directory(name) / download.name
    if path.exists():
        _check_own_file(path, download)
    else:
        _download(name, download, path, progress)
    stored = StoredDownload(
        url=download.url,
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        is_verified=bool(download.hash),
    )
    with progress.counter(f"unpacking {download.name}") as count:
        texts = [_unpack(entry, path, text, count) for text in download.texts]
    return stored, texts


def _check_own_file(path: Path, download: CatalogDownload) -> None:
    """Check a file that someone put into the cache.

    Raises:
        DataError: It is not the download.
    """
    size = path.stat().st_size
    found = f"{size:,} bytes, not {download.bytes:,}" if size != download.bytes else ""
    if download.hash and not pooch.hashes.hash_matches(str(path), download.hash):
        found = found or f"another hash than {download.hash}"
    if found:
        raise DataError(
            f"cannot use {path}: it has {found}, so it is not {download.url}. Try to remove it"
        )


def _download(name: str, download: CatalogDownload, path: Path, progress: Progress) -> None:
    """Download a file; it gets its name when its hash is checked."""
    pooch.get_logger().setLevel("ERROR")
    with progress.counter(f"downloading {download.name}", download.bytes) as count:
        fetch = pooch.HTTPDownloader(
            progressbar=ProgressBar(download.url, download.bytes, count),
            chunk_size=CHUNK_BYTES,
            timeout=TIMEOUT_SECONDS,
            headers=HEADERS,
        )
        with files.translate_os_errors("write", path), _translate_errors(name, download, path):
            pooch.retrieve(
                download.url, download.hash or None, path.name, path.parent, downloader=fetch
            )
    if path.stat().st_size != download.bytes:
        size = path.stat().st_size
        path.unlink()
        raise DataError(
            f"cannot use {download.url}: it has {size:,} bytes, not {download.bytes:,}, so it is "
            "another file. Try another day, or report it"
        )


@contextmanager
def _translate_errors(name: str, download: CatalogDownload, path: Path) -> Iterator[None]:
    """Raise errors of the network, and of a wrong hash, as those of charlm."""
    place = f"Try to save it as {path}, then charlm corpora get {name}"
    try:
        yield
    except HTTPError as error:
        response = error.response
        status = f"{response.status_code} {response.reason}" if response is not None else "an error"
        raise InputNotFoundError(
            f"cannot download {download.url}: the server answers {status}. {place}"
        ) from error
    except TooManyRedirects as error:
        raise InputNotFoundError(
            f"cannot download {download.url}: the server redirects without end. {place}"
        ) from error
    except RequestException as error:
        raise InputNotFoundError(
            f"cannot download {download.url}: {_reason(error)}. {place}"
        ) from error
    except ValueError as error:  # of pooch: the hash
        raise DataError(
            f"cannot use {download.url}: what was downloaded has not the hash {download.hash}. "
            "Try again, or report it"
        ) from error


def _reason(error: RequestException) -> str:
    """Return why there is no download, in a few words."""
    text = str(error)
    if "timed out" in text.lower():
        return f"the server sends nothing for {TIMEOUT_SECONDS:g} seconds"
    if "IncompleteRead" in text or "prematurely" in text:
        return "the connection broke before the end"
    if "resolve" in text or "Name or service" in text:
        return "the name of the server cannot be resolved, so there is no network"
    return "the server cannot be reached"


def _unpack(
    entry: CatalogEntry, path: Path, text: CatalogText, count: ProgressCallback
) -> StoredText:
    """Write a text of a download under its name, and return it with its hash.

    Raises:
        DataError: The archive does not have it, or it is another one.
    """
    name = f"underscores-{text.name}" if entry.underscores else text.name
    target = path.parent / name
    if target == path:
        return StoredText(
            file=name,
            bytes=path.stat().st_size,
            sha256=file_sha256(path),
            split=text.split,
        )
    digest, limit = hashlib.sha256(), text.bytes or MAX_TEXT_BYTES
    with _open_member(path, text) as member, files.AtomicFileWriter(target, replace=True) as file:
        pieces: Iterable[bytes] = iter(lambda: member.read(CHUNK_BYTES), b"")
        if entry.underscores:
            pieces = map(with_underscores, member)
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            count(len(piece))
            if file.size > limit:
                break
        expected = text.sha256 or digest.hexdigest()
        if digest.hexdigest() != expected or file.size != (text.bytes or file.size):
            raise DataError(
                f"cannot use {path}: {text.file} in it is another file. Try to remove it"
            )
        file.commit()
    return StoredText(file=name, bytes=file.size, sha256=digest.hexdigest(), split=text.split)


@contextmanager
def _open_member(path: Path, text: CatalogText) -> Iterator[IO[bytes]]:
    """Open a text: a member of an archive, by its name, or a plain file."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(text.file) as member:
                yield member
        elif path.name.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                names = {name.removeprefix("./"): name for name in tar.getnames()}
                extracted = tar.extractfile(names[text.file])
                if extracted is None:
                    raise KeyError(text.file)
                with extracted as member:
                    yield member
        else:
            with path.open("rb") as member:
                yield member
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(
            f"cannot unpack {path}: {text.file} is not in it, or it is damaged. Try to remove it"
        ) from error


def with_underscores(line: bytes) -> bytes:
    """Return a line without spaces at its edges, and with underscores for those within it.

    Source: Mikolov et al. (2012), Subword Language Modeling with Neural Networks.
    """
    body = line.removesuffix(b"\n")
    return body.strip(b" ").replace(b" ", b"_") + line[len(body) :]
