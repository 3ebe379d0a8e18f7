"""Text of any size -> ids on disk: encoded once, streaming, kept under the hash of its content.

Ids are given in order of first appearance. So the alphabet of *any* beginning of the text is a
prefix of its symbols: one encoding serves every split, and no second pass is needed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.data.encoder import EncodingMetadata, StreamingEncoder
from charlm.data.sources import CHUNK_BYTES, TextSource
from charlm.data.vocabulary import BYTE_VOCABULARY, TokenIds, Vocabulary
from charlm.errors import DataError, StorageError
from charlm.progress import ProgressCallback
from charlm.results.text import TextDigest
from charlm.storage import files

CACHE_VERSION = 1


class EncodedText:
    """A text as ids, (length,), mapped from our own cache: the user's file may change or vanish."""

    def __init__(self, facts: EncodingMetadata, path: Path) -> None:
        self.facts = facts
        self.path = path
        self.size = sum(facts.parts)
        # An empty file cannot be mapped; an empty text has no ids.
        self.ids: TokenIds = (
            np.memmap(path, dtype=f"<u{facts.width}", mode="r", shape=(self.size,))
            if self.size
            else np.zeros(0, dtype=np.uint8)
        )

    def iter_chunks(self, start: int, end: int) -> Iterator[TokenIds]:
        """ids[start:end] piece by piece; read, not mapped, so that a pass fills no memory."""
        with self.path.open("rb") as file:
            file.seek(start * self.facts.width)
            for at in range(start, end, CHUNK_BYTES):
                data = file.read(min(CHUNK_BYTES, end - at) * self.facts.width)
                yield np.frombuffer(data, dtype=f"<u{self.facts.width}")

    def token_offset(self, characters: int, kind: str) -> int:
        """How many ids the first so many characters are; the bytes of one are never parted."""
        if kind == "characters" or self.facts.characters is None:
            return characters
        begun = 0
        for number, block in enumerate(self.iter_chunks(0, self.size)):
            begins = _is_character_start(block)
            if begun + begins.sum() > characters:
                return number * CHUNK_BYTES + int(np.flatnonzero(begins)[characters - begun])
            begun += int(begins.sum())
        return self.size

    def count_characters_and_bytes(self, start: int, end: int, kind: str) -> tuple[int | None, int]:
        """(characters, bytes) of ids[start:end]; no characters where the bytes are not UTF-8."""
        if kind == "bytes":
            begun = sum(
                int(_is_character_start(block).sum()) for block in self.iter_chunks(start, end)
            )
            return (None if self.facts.characters is None else begun), end - start
        points = np.array(self.facts.symbols)
        lengths = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
        return end - start, sum(int(lengths[block].sum()) for block in self.iter_chunks(start, end))

    def iter_bytes(self, start: int, end: int, kind: str) -> Iterator[bytes]:
        """The bytes of ids[start:end], piece by piece."""
        whole = BYTE_VOCABULARY if kind == "bytes" else Vocabulary("characters", self.facts.symbols)
        return (whole.decode(block) for block in self.iter_chunks(start, end))

    def sha256(self, start: int, end: int, kind: str) -> str:
        """The hash of the bytes of ids[start:end]."""
        digest = hashlib.sha256()
        for piece in self.iter_bytes(start, end, kind):
            digest.update(piece)
        return digest.hexdigest()


def _is_character_start(block: TokenIds) -> NDArray[np.bool_]:
    """Which bytes of UTF-8 text begin a character: all but the continuation bytes 10xxxxxx."""
    return (block & 0xC0) != 0x80


def digest_sources(
    parts: Sequence[Sequence[TextSource]], tick: ProgressCallback = lambda _: None
) -> TextDigest:
    """Of the sources' bytes, one after the other, as they are now."""
    digest = hashlib.sha256()
    lengths = []
    for part in parts:
        lengths.append(0)
        for chunk in chain.from_iterable(text.chunks() for text in part):
            digest.update(chunk)
            lengths[-1] += len(chunk)
            tick(len(chunk))
    return TextDigest(digest.hexdigest(), tuple(lengths))


def _cache_path(digest: TextDigest, known: Vocabulary | None) -> Path:
    key = hashlib.sha256(msgspec.json.encode((CACHE_VERSION, digest, known))).hexdigest()
    return files.cache_directory() / key[:32]


def load_cached(digest: TextDigest, known: Vocabulary | None) -> EncodedText | None:
    """The encoding of the text of that digest, if it is kept and whole."""
    place = _cache_path(digest, known)
    try:
        facts = msgspec.json.decode(place.with_suffix(".json").read_bytes(), type=EncodingMetadata)
        with place.with_suffix(".ids").open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == facts.ids_sha256
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise StorageError(f"the cache {place.parent} cannot be read: {error.strerror}") from error
    return EncodedText(facts, place.with_suffix(".ids")) if whole else None


def encode(
    parts: Sequence[Sequence[TextSource]],
    known: Vocabulary | None,
    tick: ProgressCallback = lambda _: None,
) -> EncodedText:
    """The sources of all parts, one after the other, as ids.

    known None: characters, numbered as they appear. An alphabet of characters: its ids first, then
    what is new. The alphabet of bytes: each byte is its own id.
    """
    digest = digest_sources(parts, tick)
    if kept := load_cached(digest, known):
        return kept
    place = _cache_path(digest, known)
    files.make_directory(place.parent)
    files.remove_stale_temporaries(place.parent, older=86_400)
    for width in (1, 2, 4):  # bytes an id: more only once that many symbols have been seen
        with files.AtomicFileWriter(place.with_suffix(".ids")) as file:
            writer = StreamingEncoder(file, known, width)
            if not all(writer.encode_part(part, tick) for part in parts):
                continue
            facts = writer.facts()
            if facts.digest != digest:
                raise DataError("the text changed while it was read: run the same command again")
            file.commit()
            break
    files.write_atomic(place.with_suffix(".json"), msgspec.json.encode(facts))
    return EncodedText(facts, place.with_suffix(".ids"))
