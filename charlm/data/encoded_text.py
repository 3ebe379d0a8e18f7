"""Encoded text on disk: ids of a text of any size, cached under the hash of its content.

A text is encoded once, as a stream. Ids follow the order of first appearance, so the vocabulary of
any prefix of the text is a prefix of its tokens: one encoding serves every split.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.data.encoder import StreamingEncoder
from charlm.data.sources import CHUNK_BYTES, TextSource
from charlm.data.vocabulary import BYTE_VOCABULARY, TokenIds, Vocabulary, VocabularyKind
from charlm.errors import DataError, StorageError
from charlm.progress import ProgressCallback, ignore
from charlm.results.text import EncodingMetadata, TextDigest
from charlm.storage import files

CACHE_VERSION = 3


class EncodedText:
    """Ids of a text, (length,), memory-mapped from the cache.

    The file of the user may change or vanish meanwhile.
    """

    def __init__(self, metadata: EncodingMetadata, path: Path) -> None:
        """Map the ids in the file `path`."""
        self.metadata = metadata
        self.path = path
        self.size = sum(metadata.parts)
        # An empty file cannot be mapped.
        self.ids: TokenIds = (
            np.memmap(path, dtype=f"<u{metadata.id_bytes}", mode="r", shape=(self.size,))
            if self.size
            else np.zeros(0, dtype=np.uint8)
        )

    def iter_chunks(self, start: int, end: int) -> Iterator[TokenIds]:
        """Iterate over ids[start:end] in chunks; read, not mapped, to bound memory."""
        id_bytes = self.metadata.id_bytes
        with self.path.open("rb") as file:
            file.seek(start * id_bytes)
            for chunk_start in range(start, end, CHUNK_BYTES):
                data = file.read(min(CHUNK_BYTES, end - chunk_start) * id_bytes)
                yield np.frombuffer(data, dtype=f"<u{id_bytes}")

    def token_offset(self, characters: int, kind: VocabularyKind) -> int:
        """Return how many ids the first `characters` characters are.

        Bytes that are not UTF-8 count as one character each.
        """
        if kind == "chars" or self.metadata.characters is None:
            return characters
        started = 0
        for number, chunk in enumerate(self.iter_chunks(0, self.size)):
            is_start = _is_character_start(chunk)
            if started + is_start.sum() > characters:
                offset = np.flatnonzero(is_start)[characters - started]
                return number * CHUNK_BYTES + int(offset)
            started += int(is_start.sum())
        return self.size

    def count_characters_and_bytes(
        self, start: int, end: int, kind: VocabularyKind
    ) -> tuple[int | None, int]:
        """Return characters and bytes of ids[start:end].

        The number of characters is None if the bytes of the text are not UTF-8.
        """
        chunks = self.iter_chunks(start, end)
        if kind == "bytes":
            characters = sum(int(_is_character_start(chunk).sum()) for chunk in chunks)
            return (None if self.metadata.characters is None else characters), end - start
        points = np.array(self.metadata.tokens)
        utf8_bytes = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
        return end - start, sum(int(utf8_bytes[chunk].sum()) for chunk in chunks)

    def iter_bytes(self, start: int, end: int, kind: VocabularyKind) -> Iterator[bytes]:
        """Iterate over the bytes of ids[start:end] in chunks."""
        vocabulary = (
            BYTE_VOCABULARY if kind == "bytes" else Vocabulary("chars", self.metadata.tokens)
        )
        return (vocabulary.decode(chunk) for chunk in self.iter_chunks(start, end))

    def sha256(self, start: int, end: int, kind: VocabularyKind) -> str:
        """Return the hash of the bytes of ids[start:end]."""
        digest = hashlib.sha256()
        for data in self.iter_bytes(start, end, kind):
            digest.update(data)
        return digest.hexdigest()


def encode(
    parts: Sequence[Sequence[TextSource]],
    vocabulary: Vocabulary | None,
    count: ProgressCallback = ignore,
) -> EncodedText:
    """Encode the concatenated sources of all parts, or load the result from the cache.

    Args:
        parts: Sources of the corpus, then of each separate split file.
        vocabulary: None: characters get ids as they appear, and a NUL is refused. Of characters:
            its ids come first, then new ones. Of bytes: each byte is its own id.
        count: Is called with numbers of bytes read; all bytes are read twice.

    Raises:
        DataError: The text is not UTF-8, or changes while it is read.
        StorageError: The cache cannot be read or written.
    """
    digest = digest_sources(parts, count)
    if cached := load_cached(digest, vocabulary):
        return cached
    path = _cache_path(digest, vocabulary)
    files.make_directory(path.parent)
    files.remove_stale_temporaries(path.parent, older=86_400)
    for id_bytes in (1, 2, 4):  # ids get wider only if there are too many tokens
        with files.AtomicFileWriter(path.with_suffix(".ids")) as file:
            encoder = StreamingEncoder(file, vocabulary, id_bytes)
            if not all(encoder.encode_part(part, count) for part in parts):
                continue
            metadata = encoder.metadata()
            if metadata.digest != digest:
                raise DataError(
                    "cannot encode the text: it changed while it was read. Try the command again"
                )
            file.commit()
            break
    files.write_atomic(path.with_suffix(".json"), msgspec.json.encode(metadata))
    return EncodedText(metadata, path.with_suffix(".ids"))


def load_cached(digest: TextDigest, vocabulary: Vocabulary | None) -> EncodedText | None:
    """Return the cached encoding of a text; None if there is none or it is damaged.

    Raises:
        StorageError: The cache cannot be read.
    """
    path = _cache_path(digest, vocabulary)
    try:
        data = path.with_suffix(".json").read_bytes()
        metadata = msgspec.json.decode(data, type=EncodingMetadata)
        with path.with_suffix(".ids").open("rb") as file:
            is_intact = hashlib.file_digest(file, "sha256").hexdigest() == metadata.ids_sha256
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise StorageError(
            f"cannot read the cache {path.parent}: {error.strerror}. Try another CHARLM_CACHE"
        ) from error
    return EncodedText(metadata, path.with_suffix(".ids")) if is_intact else None


def digest_sources(
    parts: Sequence[Sequence[TextSource]], count: ProgressCallback = ignore
) -> TextDigest:
    """Return the hash of the concatenated sources and the bytes of each part."""
    digest = hashlib.sha256()
    lengths = []
    for part in parts:
        lengths.append(0)
        for chunk in chain.from_iterable(source.chunks() for source in part):
            digest.update(chunk)
            lengths[-1] += len(chunk)
            count(len(chunk))
    return TextDigest(digest.hexdigest(), tuple(lengths))


def _cache_path(digest: TextDigest, vocabulary: Vocabulary | None) -> Path:
    key = hashlib.sha256(msgspec.json.encode((CACHE_VERSION, digest, vocabulary))).hexdigest()
    return files.cache_directory() / key[:32]


def _is_character_start(chunk: TokenIds) -> NDArray[np.bool_]:
    """Return which bytes start a UTF-8 character: all but continuation bytes 10xxxxxx."""
    return (chunk & 0xC0) != 0x80
