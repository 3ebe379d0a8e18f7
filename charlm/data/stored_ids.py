"""Arrays of numbers in a file of the cache, which are read piece by piece, not mapped into memory.

A mapped file that is cut off, or whose disk fails, ends the process by a signal. Reading it raises
an error. The open file stays readable when its name is removed.
"""

import hashlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.data.documents import Documents, Starts
from charlm.data.readers import CHUNK_BYTES
from charlm.errors import StorageError


class CacheFile:
    """File of the cache that is open for reading, until it is no longer used.

    Attributes:
        path: Its name for messages, or its directory if it has no name.
        descriptor: Descriptor, which this object closes.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        """Take over an open descriptor."""
        self.descriptor, self.path = descriptor, path
        weakref.finalize(self, os.close, descriptor)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return os.fstat(self.descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        """Return bytes [start, start + length).

        Raises:
            StorageError: The file has fewer, or cannot be read.
        """
        try:
            data = os.pread(self.descriptor, length, start)
            while len(data) < length:  # a signal, or more than the system reads at once
                more = os.pread(self.descriptor, length - len(data), start + len(data))
                if not more:
                    raise self._error("it was cut off while it was used")
                data += more
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        return data

    def iter_chunks(self, start: int, end: int) -> Iterator[bytes]:
        """Iterate over bytes [start, end) in chunks."""
        for first in range(start, end, CHUNK_BYTES):
            yield self.read(first, min(CHUNK_BYTES, end - first))

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file."""
        digest = hashlib.sha256()
        for chunk in self.iter_chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    def _error(self, cause: str) -> StorageError:
        return StorageError(
            f"cannot read the text that was laid aside in {self.path}: {cause}. Try the same "
            "command again, which encodes the text anew"
        )


class StoredIds:
    """Numbers in a file, (length,) or (length, 1): what is sliced is read, as an array.

    Attributes:
        shape: Number of numbers; with a 1 after it for one column.
        dtype: Type of a number.
        documents: Rule that tells where documents begin, if the numbers are tokens; None: nowhere.
    """

    def __init__(
        self,
        file: CacheFile,
        start: int,
        dtype: str,
        length: int,
        *,
        is_column: bool = False,
        documents: Documents | None = None,
    ) -> None:
        """Describe numbers that begin at a byte of a file."""
        self.shape: tuple[int, ...] = (length, 1) if is_column else (length,)
        self.dtype = np.dtype(dtype)
        self.documents = documents
        self._file, self._start = file, start

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def num_bytes(self) -> int:
        """Number of bytes."""
        return len(self) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self[index : index + 1][0]
        start, end, _ = slice(index.start, index.stop).indices(len(self))
        width = self.dtype.itemsize
        data = self._file.read(self._start + start * width, max(0, end - start) * width)
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype)

    def tolist(self) -> list[Any]:
        """Return all numbers."""
        return self[:].tolist()

    def span(self, start: int, end: int) -> "StoredIds":
        """Return the numbers [start, end), which are not read yet."""
        start, end, _ = slice(start, end).indices(len(self))
        first = self._start + start * self.dtype.itemsize
        documents = self.documents and self.documents.span(self, start)
        return StoredIds(
            self._file, first, self.dtype.str, max(0, end - start), documents=documents
        )

    def column(self) -> "StoredIds":
        """Return the same numbers as one column, (length, 1)."""
        return StoredIds(
            self._file,
            self._start,
            self.dtype.str,
            len(self),
            is_column=True,
            documents=self.documents,
        )

    def iter_chunks(self, chunk_length: int) -> Iterator[NDArray[Any]]:
        """Iterate over the numbers in arrays of this length; the last may be shorter."""
        for start in range(0, len(self), chunk_length):
            yield self[start : start + chunk_length]


def read_rows(
    ids: NDArray[np.integer] | StoredIds, starts: NDArray[np.int64], length: int
) -> NDArray[np.integer]:
    """Return so many numbers from each start, (len(starts), length)."""
    rows = np.empty((len(starts), length), ids.dtype)
    for row, start in zip(rows, starts.tolist(), strict=True):
        row[:] = ids[start : start + length]
    return rows


def read_starts(
    ids: NDArray[np.integer] | StoredIds, starts: NDArray[np.int64], length: int
) -> Starts | None:
    """Return which of the numbers that `read_rows` reads begin a document, (len(starts), length).

    None if the ids have no documents.
    """
    if not isinstance(ids, StoredIds) or ids.documents is None:
        return None
    documents = ids.documents
    return np.stack([documents.mark(ids, start, start + length) for start in starts.tolist()])
