"""Format of a compressed file: a header that names model, build and content, then the code.

magic        4 bytes, and one byte for the version of the format
checksum     8 bytes: start of the SHA-256 of all that follows
weights      32 bytes: SHA-256 of the model's weights
original     32 bytes: SHA-256 of the file
vocabulary   8 bytes: start of the SHA-256 of the vocabulary
arithmetic   8 bytes: start of the SHA-256 of probabilities that the model computes on a fixed text
length       8 bytes: of the file
build        one byte for its length, then versions and processor as MessagePack
code         words of 32 bits, little-endian
"""

import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.compression.paths import check_input
from charlm.errors import DataError
from charlm.results.compression import Build
from charlm.storage.reading import open_regular_file

MAGIC = b"\x8eCLZ"
VERSION = 1
START = struct.Struct("<4sB8s")  # magic, version, checksum
IDENTITY = struct.Struct("<32s32s8s8sQB")
SHORT_HASH = 8  # bytes
PIECE_BYTES = 1 << 16  # that are read at once
WORD_TYPE = "<u4"
WORD_BYTES = 4
# The rarest token is coded in 63 levels of at most 24 bits, an unknown character has 21 more.
MAX_WORDS_PER_BYTE, SPARE_WORDS = 64, 64
Words = NDArray[np.uint32]


def short_hash(data: bytes) -> bytes:
    """Return the first bytes of the SHA-256 of data."""
    return hashlib.sha256(data).digest()[:SHORT_HASH]


class Container(NamedTuple):
    """Content of a compressed file."""

    weights_sha256: bytes
    original_sha256: bytes
    vocabulary_hash: bytes
    arithmetic_hash: bytes
    original_bytes: int
    build: Build
    words: Words  # the code

    def encode(self) -> tuple[bytes, bytes]:
        """Return the header and the code as bytes."""
        build = msgspec.msgpack.encode(
            msgspec.structs.astuple(self.build)
        )  # without names of fields
        identity = IDENTITY.pack(*self[:5], len(build)) + build
        code = self.words.astype(WORD_TYPE).tobytes()
        return START.pack(MAGIC, VERSION, short_hash(identity + code)) + identity, code

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a compressed file and verify its checksum.

        The code is in memory once, after the header, the size and the checksum were found right.

        Raises:
            InputNotFoundError: It does not exist or cannot be read.
            DataError: It is no compressed file, of another version, or damaged.
        """
        check_input(path)
        with open_regular_file(path.resolve()) as file:  # its name may be a link
            start = file.read(START.size)
            if not start.startswith(MAGIC):
                raise DataError(
                    f"cannot decompress {path}: it is not a file of charlm compress. Try another"
                )
            if start[len(MAGIC) :][:1] not in (b"", bytes([VERSION])):
                raise DataError(
                    f"cannot decompress {path}: it has version {start[len(MAGIC)]} of the format, "
                    f"this charlm reads version {VERSION}. Try the charlm that compressed it"
                )
            try:
                weights, original, vocabulary, arithmetic, length, build_size = IDENTITY.unpack(
                    file.read(IDENTITY.size)
                )
                names = msgspec.msgpack.decode(
                    file.read(build_size), type=tuple[str, str, str, str, str, str]
                )
            except (struct.error, msgspec.DecodeError, ValueError) as error:
                raise _damaged_error(path, "its header is not one of charlm") from error
            code_start = file.tell()
            count, rest = divmod(os.fstat(file.fileno()).st_size - code_start, WORD_BYTES)
            if rest or count > MAX_WORDS_PER_BYTE * length + SPARE_WORDS:
                raise _damaged_error(path, "its size does not fit its header")
            file.seek(START.size)
            digest = hashlib.sha256()
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
            if digest.digest()[:SHORT_HASH] != start[-SHORT_HASH:]:
                raise _damaged_error(path, "its checksum does not fit its content")
            file.seek(code_start)
            words = np.fromfile(file, WORD_TYPE, count).astype(np.uint32, copy=False)
        return cls(weights, original, vocabulary, arithmetic, length, Build(*names), words)


def _damaged_error(path: Path, cause: str) -> DataError:
    return DataError(
        f"cannot decompress {path}: it is damaged or cut off, since {cause}. Try another copy"
    )
