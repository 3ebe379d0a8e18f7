"""Encoded text on disk: ids of a text of any size, cached under the hash of its content.

A text is encoded once, as a stream, for one vocabulary. The id of a character outside of it is the
unknown token. Which character that is stands beside the ids, so that no byte of the text is lost.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.data.encoder import StreamingEncoder, make_digest
from charlm.data.sources import CHUNK_BYTES, TextSource
from charlm.data.vocabulary import BYTE_VOCABULARY, TokenIds, Vocabulary, VocabularyKind
from charlm.data.vocabulary_ids import (
    CHARACTERS_TYPE,
    POSITIONS_TYPE,
    Characters,
    padded,
    write_vocabulary_ids,
)
from charlm.errors import DataError, StorageError
from charlm.progress import ProgressCallback, ignore
from charlm.results.text import EncodingMetadata, TextDigest, VocabularyRule
from charlm.storage import files
from charlm.storage.lock import in_use, mark_in_use

CACHE_VERSION = 4


class EncodedText:
    """Ids of a text, (length,), memory-mapped from the cache.

    The file of the user may change or vanish meanwhile.

    Attributes:
        metadata: Tokens, lengths and digest.
        path: File of the ids.
        size: Number of ids.
        ids: Ids, (size,); an unknown character is the id after the last token.
    """

    def __init__(self, metadata: EncodingMetadata, path: Path) -> None:
        """Map the ids in the file `path`."""
        self.metadata = metadata
        self.path = path
        self.size = sum(map(sum, metadata.sources))
        with path.open("rb") as file:
            mark_in_use(file.fileno())  # until it is unmapped
            start = 0
            self.ids: TokenIds = _map(file, start, f"<u{metadata.id_bytes}", self.size)
            start += padded(self.size * metadata.id_bytes)
            self._unknown_positions = _map(file, start, POSITIONS_TYPE, metadata.unknown)
            start += self._unknown_positions.nbytes
            self._unknown_characters = _map(file, start, CHARACTERS_TYPE, metadata.unknown)

    def iter_chunks(self, start: int, end: int) -> Iterator[TokenIds]:
        """Iterate over ids[start:end] in chunks; read, not mapped, to bound memory."""
        id_bytes = self.metadata.id_bytes
        with self.path.open("rb") as file:
            file.seek(start * id_bytes)
            for chunk_start in range(start, end, CHUNK_BYTES):
                data = file.read(min(CHUNK_BYTES, end - chunk_start) * id_bytes)
                yield np.frombuffer(data, dtype=f"<u{id_bytes}")

    def token_offset(self, characters: int, kind: VocabularyKind, start: int = 0) -> int:
        """Return the index of the id that is `characters` characters after `start`.

        Bytes that are not UTF-8 count as one character each.
        """
        if kind == "chars" or self.metadata.characters is None:
            return min(start + characters, self.size)
        started = 0
        for number, chunk in enumerate(self.iter_chunks(start, self.size)):
            is_start = _is_character_start(chunk)
            if started + is_start.sum() > characters:
                offset = np.flatnonzero(is_start)[characters - started]
                return start + number * CHUNK_BYTES + int(offset)
            started += int(is_start.sum())
        return self.size

    def count_characters_and_bytes(
        self, start: int, end: int, kind: VocabularyKind
    ) -> tuple[int | None, int]:
        """Return characters and bytes of ids[start:end].

        The number of characters is None if the bytes of the text are not UTF-8.
        """
        if kind == "bytes":
            chunks = self.iter_chunks(start, end)
            characters = sum(int(_is_character_start(chunk).sum()) for chunk in chunks)
            return (None if self.metadata.characters is None else characters), end - start
        num_bytes = sum(
            len(points) + sum(int((points >= bound).sum()) for bound in (0x80, 0x800, 0x10000))
            for points in self._iter_characters(start, end)
        )
        return end - start, num_bytes

    def count_unknown(self, start: int, end: int) -> int:
        """Return how many of ids[start:end] are the unknown token."""
        first, last = np.searchsorted(self._unknown_positions, (start, end))
        return int(last - first)

    def unknown_characters(self) -> dict[str, int]:
        """Return how often each unknown character occurs; the most frequent first."""
        points, counts = np.unique(self._unknown_characters, return_counts=True)
        order = np.lexsort((points, -counts))
        return {chr(points[index]): int(counts[index]) for index in order}

    def text(self, start: int, end: int) -> str:
        """Return the characters of ids[start:end] of a text in characters, also unknown ones."""
        pieces = self._iter_characters(start, end)
        return "".join(piece.tobytes().decode("utf-32-le") for piece in pieces)

    def iter_bytes(self, start: int, end: int, kind: VocabularyKind) -> Iterator[bytes]:
        """Iterate over the bytes of ids[start:end] in chunks."""
        if kind == "bytes":
            return (chunk.tobytes() for chunk in self.iter_chunks(start, end))
        pieces = self._iter_characters(start, end)
        return (piece.tobytes().decode("utf-32-le").encode() for piece in pieces)

    def sha256(self, start: int, end: int, kind: VocabularyKind) -> str:
        """Return the hash of the bytes of ids[start:end]."""
        digest = hashlib.sha256()
        for data in self.iter_bytes(start, end, kind):
            digest.update(data)
        return digest.hexdigest()

    def _iter_characters(self, start: int, end: int) -> Iterator[Characters]:
        """Iterate over the code points of ids[start:end] in chunks."""
        tokens = np.array((*self.metadata.tokens, 0), dtype=CHARACTERS_TYPE)
        for chunk in self.iter_chunks(start, end):
            characters = tokens[chunk]
            bounds = (start, start + len(chunk))
            unknown = slice(*np.searchsorted(self._unknown_positions, bounds))
            positions = self._unknown_positions[unknown].astype(np.int64) - start
            characters[positions] = self._unknown_characters[unknown]
            yield characters
            start += len(chunk)


def encode(
    parts: Sequence[Sequence[TextSource]],
    vocabulary: Vocabulary | VocabularyRule,
    count: ProgressCallback = ignore,
) -> EncodedText:
    """Encode the concatenated sources of all parts, or load the result from the cache.

    Args:
        parts: Sources of each part of the text: a split, or splits that are cut by position.
        vocabulary: Vocabulary, or the rule that chooses one. A NUL is refused if it is a rule.
        count: Is called with numbers of bytes read; all bytes are read twice.

    Raises:
        DataError: The text is not UTF-8, changes while it is read, or has no frequent character.
        StorageError: The cache cannot be read or written.
    """
    digest = digest_sources(parts, count)
    if cached := load_cached(digest, vocabulary):
        return cached
    path = _cache_path(digest, vocabulary)
    files.make_directory(path.parent)
    with in_use(path.parent):
        return _encode(parts, vocabulary, digest, path, count)


def _encode(
    parts: Sequence[Sequence[TextSource]],
    vocabulary: Vocabulary | VocabularyRule,
    digest: TextDigest,
    path: Path,
    count: ProgressCallback,
) -> EncodedText:
    """Encode the parts of a text with this digest, and write the result to the cache."""
    files.remove_stale_temporaries(path.parent, older=86_400)
    for id_bytes in (1, 2, 4):  # ids get wider only if there are too many tokens
        with files.AtomicFileWriter(path.with_suffix(".ids"), replace=True) as file:
            is_bytes, is_rule = (
                vocabulary == BYTE_VOCABULARY,
                isinstance(vocabulary, VocabularyRule),
            )
            encoder = StreamingEncoder(file, is_bytes, is_rule, id_bytes)
            if not all(encoder.encode_part(part, count) for part in parts):
                continue
            if encoder.digest != digest:
                raise DataError(
                    "cannot encode the text: it changed while it was read. Try the command again"
                )
            if is_bytes:
                tokens, unknown = BYTE_VOCABULARY.tokens, 0
                file.commit()
            else:
                tokens, unknown, id_bytes = write_vocabulary_ids(
                    file.temporary, encoder, vocabulary, path.with_suffix(".ids")
                )
            break
    with path.with_suffix(".ids").open("rb") as stored:
        ids_sha256 = hashlib.file_digest(stored, "sha256").hexdigest()
    metadata = EncodingMetadata(
        digest=digest,
        characters=encoder.characters,
        tokens=tokens,
        sources=tuple(encoder.sources),
        unknown=unknown,
        id_bytes=id_bytes,
        ids_sha256=ids_sha256,
        notes=encoder.notes,
    )
    files.write_atomic(path.with_suffix(".json"), msgspec.json.encode(metadata))
    return EncodedText(metadata, path.with_suffix(".ids"))


def load_cached(digest: TextDigest, vocabulary: Vocabulary | VocabularyRule) -> EncodedText | None:
    """Return the cached encoding of a text; None if there is none or it is damaged.

    Raises:
        StorageError: The cache cannot be read.
    """
    path = _cache_path(digest, vocabulary)
    try:
        with in_use(path.parent):
            data = path.with_suffix(".json").read_bytes()
            metadata = msgspec.json.decode(data, type=EncodingMetadata)
            with path.with_suffix(".ids").open("rb") as file:
                is_intact = hashlib.file_digest(file, "sha256").hexdigest() == metadata.ids_sha256
            return EncodedText(metadata, path.with_suffix(".ids")) if is_intact else None
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise StorageError(
            f"cannot read the cache {path.parent}: {error.strerror}. Try another CHARLM_CACHE"
        ) from error


def digest_sources(
    parts: Sequence[Sequence[TextSource]], count: ProgressCallback = ignore
) -> TextDigest:
    """Return the identity of the concatenated sources of all parts."""
    digest = hashlib.sha256()
    lengths: list[list[int]] = []
    for part in parts:
        lengths.append([0] * len(part))
        for number, source in enumerate(part):
            for chunk in source.chunks():
                digest.update(chunk)
                lengths[-1][number] += len(chunk)
                count(len(chunk))
    return make_digest(digest.hexdigest(), lengths)


def _cache_path(digest: TextDigest, vocabulary: Vocabulary | VocabularyRule) -> Path:
    kind = type(vocabulary).__name__
    key = msgspec.json.encode((CACHE_VERSION, digest, kind, vocabulary))
    return files.cache_directory() / hashlib.sha256(key).hexdigest()[:32]


def _map(file: BinaryIO, start: int, dtype: str, length: int) -> NDArray[np.integer]:
    if not length:  # an empty file cannot be mapped
        return np.zeros(0, dtype=dtype)
    return np.memmap(file, dtype=dtype, mode="r", offset=start, shape=(length,))


def _is_character_start(chunk: TokenIds) -> NDArray[np.bool_]:
    """Return which bytes start a UTF-8 character: all but continuation bytes 10xxxxxx."""
    return (chunk & 0xC0) != 0x80
