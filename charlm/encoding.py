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

from charlm import durable
from charlm.alphabet import BYTES, Alphabet, Ids
from charlm.encoder import Digest, Encoder, Facts, Tick
from charlm.errors import BadData, DiskFailure
from charlm.source import CHUNK, Source

VERSION = 1


class Encoded:
    """A text as ids, (length,), mapped from our own cache: the user's file may change or vanish."""

    def __init__(self, facts: Facts, path: Path) -> None:
        self.facts = facts
        self.path = path
        self.size = sum(facts.parts)
        # An empty file cannot be mapped; an empty text has no ids.
        self.ids: Ids = (
            np.memmap(path, dtype=f"<u{facts.width}", mode="r", shape=(self.size,))
            if self.size
            else np.zeros(0, dtype=np.uint8)
        )

    def blocks(self, start: int, end: int) -> Iterator[Ids]:
        """ids[start:end] piece by piece; read, not mapped, so that a pass fills no memory."""
        with self.path.open("rb") as file:
            file.seek(start * self.facts.width)
            for at in range(start, end, CHUNK):
                data = file.read(min(CHUNK, end - at) * self.facts.width)
                yield np.frombuffer(data, dtype=f"<u{self.facts.width}")

    def cut(self, characters: int, kind: str) -> int:
        """How many ids the first so many characters are; the bytes of one are never parted."""
        if kind == "characters" or self.facts.characters is None:
            return characters
        begun = 0
        for number, block in enumerate(self.blocks(0, self.size)):
            begins = _begins(block)
            if begun + begins.sum() > characters:
                return number * CHUNK + int(np.flatnonzero(begins)[characters - begun])
            begun += int(begins.sum())
        return self.size

    def measure(self, start: int, end: int, kind: str) -> tuple[int | None, int]:
        """(characters, bytes) of ids[start:end]; no characters where the bytes are not UTF-8."""
        if kind == "bytes":
            begun = sum(int(_begins(block).sum()) for block in self.blocks(start, end))
            return (None if self.facts.characters is None else begun), end - start
        points = np.array(self.facts.symbols)
        lengths = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
        return end - start, sum(int(lengths[block].sum()) for block in self.blocks(start, end))

    def data(self, start: int, end: int, kind: str) -> Iterator[bytes]:
        """The bytes of ids[start:end], piece by piece."""
        whole = BYTES if kind == "bytes" else Alphabet("characters", self.facts.symbols)
        return (whole.decode(block) for block in self.blocks(start, end))

    def sha256(self, start: int, end: int, kind: str) -> str:
        """The hash of the bytes of ids[start:end]."""
        digest = hashlib.sha256()
        for piece in self.data(start, end, kind):
            digest.update(piece)
        return digest.hexdigest()


def _begins(block: Ids) -> NDArray[np.bool_]:
    """Which bytes of UTF-8 text begin a character: all but the continuation bytes 10xxxxxx."""
    return (block & 0xC0) != 0x80


def digest_of(parts: Sequence[Sequence[Source]], tick: Tick = lambda _: None) -> Digest:
    """Of the sources' bytes, one after the other, as they are now."""
    digest = hashlib.sha256()
    lengths = []
    for part in parts:
        lengths.append(0)
        for chunk in chain.from_iterable(text.chunks() for text in part):
            digest.update(chunk)
            lengths[-1] += len(chunk)
            tick(len(chunk))
    return Digest(digest.hexdigest(), tuple(lengths))


def _place(digest: Digest, known: Alphabet | None) -> Path:
    key = hashlib.sha256(msgspec.json.encode((VERSION, digest, known))).hexdigest()
    return durable.cache_directory() / key[:32]


def cached(digest: Digest, known: Alphabet | None) -> Encoded | None:
    """The encoding of the text of that digest, if it is kept and whole."""
    place = _place(digest, known)
    try:
        facts = msgspec.json.decode(place.with_suffix(".json").read_bytes(), type=Facts)
        with place.with_suffix(".ids").open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == facts.ids_sha256
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise DiskFailure(f"the cache {place.parent} cannot be read: {error.strerror}") from error
    return Encoded(facts, place.with_suffix(".ids")) if whole else None


def encoded(
    parts: Sequence[Sequence[Source]], known: Alphabet | None, tick: Tick = lambda _: None
) -> Encoded:
    """The sources of all parts, one after the other, as ids.

    known None: characters, numbered as they appear. An alphabet of characters: its ids first, then
    what is new. The alphabet of bytes: each byte is its own id.
    """
    digest = digest_of(parts, tick)
    if kept := cached(digest, known):
        return kept
    place = _place(digest, known)
    durable.make_directory(place.parent)
    durable.sweep(place.parent, older=86_400)
    for width in (1, 2, 4):  # bytes an id: more only once that many symbols have been seen
        with durable.Growing(place.with_suffix(".ids")) as file:
            writer = Encoder(file, known, width)
            if not all(writer.part(part, tick) for part in parts):
                continue
            facts = writer.facts()
            if facts.digest != digest:
                raise BadData("the text changed while it was read: run the same command again")
            file.commit()
            break
    durable.write_file(place.with_suffix(".json"), msgspec.json.encode(facts))
    return Encoded(facts, place.with_suffix(".ids"))
