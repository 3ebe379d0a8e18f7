"""Encoded text on disk: ids of a text of any size, cached under the hash of its content.

A text is encoded once, as a stream, for one vocabulary. The id of a character outside of it is the
unknown token. Which character that is stands beside the ids, so that no byte of the text is lost.
"""

import hashlib
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.data.cache import check_free_space, private_writer, write_private
from charlm.data.documents import make_documents
from charlm.data.encoder import StreamingEncoder, make_digest
from charlm.data.encoding_checks import is_intact, is_record_of
from charlm.data.readers import CHUNK_BYTES
from charlm.data.sources import TextSource
from charlm.data.stored_ids import CacheFile, StoredIds
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
from charlm.storage.json_files import read_sealed_json, seal_json
from charlm.storage.lock import in_use, mark_in_use
from charlm.storage.private_cache import open_private_cache
from charlm.storage.reading import open_regular_file

CACHE_VERSION = 6
RECORD_LIMIT = 1 << 28  # bytes of a record: 16 MB with all of Unicode, more with a million files


class EncodedText:
    """Ids of a text, (length,), in an open file of the cache.

    The file of the user may change or vanish meanwhile, and the cache may be emptied.

    Attributes:
        metadata: Tokens, lengths and digest.
        size: Number of ids.
        ids: Ids, (size,); an unknown character is the id after the last token.
    """

    def __init__(self, metadata: EncodingMetadata, file: CacheFile) -> None:
        """Describe the ids in an open file."""
        self.metadata = metadata
        self.size = sum(map(sum, metadata.sources))
        mark_in_use(file.descriptor)  # until it is closed
        self.ids = StoredIds(file, 0, f"<u{metadata.id_bytes}", self.size)
        start = padded(self.size * metadata.id_bytes)
        self._unknown_positions = StoredIds(file, start, POSITIONS_TYPE, metadata.unknown)
        start += self._unknown_positions.num_bytes
        self._unknown_characters = StoredIds(file, start, CHARACTERS_TYPE, metadata.unknown)

    def mark_documents(self, setting: str, vocabulary: Vocabulary) -> None:
        """Mark in the ids where documents begin.

        Args:
            setting: Value of `Config.documents`.
            vocabulary: Vocabulary that encoded the text.

        Raises:
            DataError: The vocabulary lacks a character of the separator.
        """
        self.ids.documents = make_documents(setting, vocabulary, self.metadata.sources)

    def iter_chunks(self, start: int, end: int) -> Iterator[TokenIds]:
        """Iterate over ids[start:end] in chunks."""
        return self.ids.span(start, end).iter_chunks(CHUNK_BYTES)

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
        unknown = self._unknown_span(start, end)
        return unknown.stop - unknown.start

    def unknown_characters(self) -> dict[str, int]:
        """Return how often each unknown character occurs; the most frequent first."""
        counts: Counter[int] = Counter()
        for chunk in self._unknown_characters.iter_chunks(CHUNK_BYTES):
            points, occurrences = np.unique(chunk, return_counts=True)
            counts.update(dict(zip(points.tolist(), occurrences.tolist(), strict=True)))
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return {chr(point): count for point, count in ordered}

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
            unknown = self._unknown_span(start, start + len(chunk))
            positions = self._unknown_positions[unknown].astype(np.int64) - start
            characters[positions] = self._unknown_characters[unknown]
            yield characters
            start += len(chunk)

    def _unknown_span(self, start: int, end: int) -> slice:
        """Return which unknown characters are in ids[start:end]."""
        if not self.metadata.unknown:
            return slice(0, 0)
        first, last = (bisect_left(self._unknown_positions, edge) for edge in (start, end))
        return slice(first, last)


def encode(
    parts: Sequence[Sequence[TextSource]],
    vocabulary: Vocabulary | VocabularyRule,
    count: ProgressCallback = ignore,
    digest: TextDigest | None = None,
) -> EncodedText:
    """Encode the concatenated sources of all parts, or load the result from the cache.

    Args:
        parts: Sources of each part of the text: a split, or splits that are cut by position.
        vocabulary: Vocabulary, or the rule that chooses one. A NUL is refused if it is a rule.
        count: Is called with numbers of bytes read; all bytes are read twice.
        digest: Identity of the text, if it was just read.

    Raises:
        DataError: The text is not UTF-8, changes while it is read, or has no frequent character.
        StorageError: The cache cannot be read or written.
    """
    digest = digest or digest_sources(parts, count)
    if cached := load_cached(digest, vocabulary):
        return cached
    with open_private_cache() as cache, in_use(cache):
        copies = 1 if vocabulary == BYTE_VOCABULARY else 2
        check_free_space(cache, copies * sum(digest.parts))
        return _encode(parts, vocabulary, digest, cache / _cache_key(digest, vocabulary), count)


def _encode(
    parts: Sequence[Sequence[TextSource]],
    vocabulary: Vocabulary | VocabularyRule,
    digest: TextDigest,
    path: Path,
    count: ProgressCallback,
) -> EncodedText:
    """Encode the parts of a text with this digest, and write the result to the cache."""
    files.remove_stale_temporaries(path.parent, older=86_400)
    ids_path = path.with_suffix(".ids")
    is_bytes, is_rule = vocabulary == BYTE_VOCABULARY, isinstance(vocabulary, VocabularyRule)
    for id_bytes in (1, 2, 4):  # ids get wider only if there are too many tokens
        with private_writer(ids_path) as file:
            encoder = StreamingEncoder(file, is_bytes, is_rule, id_bytes)
            if not all(encoder.encode_part(part, count) for part in parts):
                continue
            if encoder.digest != digest:
                raise DataError(
                    "cannot encode the text: it changed while it was read. Try the command again"
                )
            stored = CacheFile(os.dup(file.descriptor), ids_path)
            tokens, unknown = BYTE_VOCABULARY.tokens, 0
            if is_bytes:
                file.commit()
            else:
                stored, tokens, unknown, id_bytes = write_vocabulary_ids(
                    StoredIds(stored, 0, f"<u{id_bytes}", encoder.num_ids),
                    encoder,
                    vocabulary,
                    ids_path,
                )
            break
    metadata = EncodingMetadata(
        digest=digest,
        characters=encoder.characters,
        tokens=tokens,
        sources=tuple(encoder.sources),
        unknown=unknown,
        id_bytes=id_bytes,
        ids_sha256=stored.sha256(),
        notes=encoder.notes,
    )
    write_private(path.with_suffix(".json"), seal_json(metadata))
    return EncodedText(metadata, stored)


def load_cached(digest: TextDigest, vocabulary: Vocabulary | VocabularyRule) -> EncodedText | None:
    """Return the cached encoding of a text; None if there is none or it is damaged.

    Raises:
        StorageError: The cache cannot be read.
    """
    with open_private_cache() as cache:
        path = cache / _cache_key(digest, vocabulary)
        try:
            with in_use(cache):
                record = read_sealed_json(path.with_suffix(".json"), EncodingMetadata, RECORD_LIMIT)
                with open_regular_file(path.with_suffix(".ids")) as opened:
                    file = CacheFile(os.dup(opened.fileno()), path.with_suffix(".ids"))
        except (FileNotFoundError, DataError):
            return None
        except OSError as error:
            raise StorageError(
                f"cannot read the cache {cache}: {error.strerror}. Try another CHARLM_CACHE"
            ) from error
        mark_in_use(file.descriptor)
        is_sound = is_record_of(record, digest, vocabulary) and is_intact(record, file)
        return EncodedText(record, file) if is_sound else None


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


def _cache_key(digest: TextDigest, vocabulary: Vocabulary | VocabularyRule) -> str:
    kind = type(vocabulary).__name__
    key = msgspec.json.encode((CACHE_VERSION, digest, kind, vocabulary))
    return hashlib.sha256(key).hexdigest()[:32]


def _is_character_start(chunk: TokenIds) -> NDArray[np.bool_]:
    """Return which bytes start a UTF-8 character: all but continuation bytes 10xxxxxx."""
    return (chunk & 0xC0) != 0x80
