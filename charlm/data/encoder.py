"""Bytes -> ids, chunk after chunk: holds one chunk, one table of code points, and no text."""

import codecs
import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np

from charlm.data.sources import TextSource
from charlm.data.vocabulary import BYTE_VOCABULARY, UNICODE_CODE_POINTS, Vocabulary
from charlm.errors import DataError
from charlm.progress import ProgressCallback
from charlm.results.text import TextDigest
from charlm.storage import files


class EncodingMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of an encoded text beside its ids; kept as JSON next to them."""

    digest: TextDigest
    characters: int | None  # None: the bytes are not UTF-8, so there are none to count
    symbols: tuple[int, ...]  # by id: those known before, then the new ones as they appeared
    first_positions: tuple[int, ...]  # where each symbol appeared first; -1: known before
    parts: tuple[int, ...]  # how many ids each part of the text is
    width: int  # bytes an id takes on disk
    ids_sha256: str
    notes: tuple[str, ...]  # what is odd about the text and was kept as it is


class StreamingEncoder:
    """Writes the ids of the parts of a text to a file, in order of first appearance."""

    def __init__(self, file: files.AtomicFileWriter, known: Vocabulary | None, width: int) -> None:
        self.file = file
        self.width = width
        self.bytes_only = known == BYTE_VOCABULARY
        self.refuses_nul = known is None  # to learn from; to be scored, it is a character as any
        self.symbols = list(known.tokens) if known else []
        self.first = [-1] * len(self.symbols)
        self.table = np.full(UNICODE_CODE_POINTS, -1, dtype=np.int32)
        self.table[self.symbols] = np.arange(len(self.symbols))
        self.ids = 0
        self.parts: list[int] = []  # in ids
        self.lengths: list[int] = []  # in bytes
        self.characters: int | None = 0
        self.text_digest, self.ids_digest = hashlib.sha256(), hashlib.sha256()
        self.notes: list[str] = []

    def encode_part(self, part: Sequence[TextSource], tick: ProgressCallback) -> bool:
        """Encode one part of the text; False: there are more symbols than ids of this width."""
        self.lengths.append(0)
        before = self.ids
        done = all(self._read(text, tick) for text in part)
        self.parts.append(self.ids - before)
        return done

    def _read(self, text: TextSource, tick: ProgressCallback) -> bool:
        reader = _Utf8Decoder(text.name, self.refuses_nul)
        chunks = text.chunks()
        chunk = b"more"
        while chunk:
            chunk = next(chunks, b"")
            if self.bytes_only:
                self._put_bytes(chunk, reader)
            elif not self._put(reader.text(chunk)):
                return False
            self.text_digest.update(chunk)
            self.lengths[-1] += len(chunk)
            tick(len(chunk))
        self.notes += reader.notes
        return True

    def _put(self, text: str) -> bool:
        """Characters -> ids on disk; a new one gets the next id, and its place is kept."""
        points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        ids = self.table[points]
        if len(ids) and ids.min() < 0:
            unknown = np.flatnonzero(ids < 0)
            new, at = np.unique(points[unknown], return_index=True)
            for place, point in sorted(zip(unknown[at].tolist(), new.tolist(), strict=True)):
                self.table[point] = len(self.symbols)
                self.symbols.append(point)
                self.first.append(self.ids + place)
            ids = self.table[points]
        if len(self.symbols) > 256**self.width:
            return False
        self._write(ids.astype(f"<u{self.width}").tobytes(), len(ids))
        if self.characters is not None:
            self.characters += len(ids)
        return True

    def _put_bytes(self, chunk: bytes, reader: "_Utf8Decoder") -> None:
        self._write(chunk, len(chunk))
        if self.characters is not None:
            try:
                self.characters += len(reader.decode(chunk))
            except DataError:
                self.characters = None
                self.notes.append(f"{reader.name} is not UTF-8: the splits are cut in bytes")

    def _write(self, data: bytes, ids: int) -> None:
        self.ids_digest.update(data)
        self.file.write(data)
        self.ids += ids

    def facts(self) -> EncodingMetadata:
        return EncodingMetadata(
            digest=TextDigest(self.text_digest.hexdigest(), tuple(self.lengths)),
            characters=self.characters,
            symbols=tuple(self.symbols),
            first_positions=tuple(self.first),
            parts=tuple(self.parts),
            width=self.width,
            ids_sha256=self.ids_digest.hexdigest(),
            notes=tuple(self.notes),
        )


class _Utf8Decoder:
    """Decodes one source, and knows where it is to say so when something is wrong there."""

    def __init__(self, name: str, refuses_nul: bool) -> None:
        self.name = name
        self.refuses_nul = refuses_nul
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.offset = 0  # in bytes, of the chunk that comes next
        self.line = self.column = 1  # of the character that comes next
        self.notes: list[str] = []

    def text(self, chunk: bytes) -> str:
        """The chunk's characters; b"" is the end. Odd but sound text is kept and noted."""
        line = self.line
        if not self.offset and chunk.startswith(codecs.BOM_UTF8):
            self.notes.append(f"{self.name} begins with a byte order mark: kept as a character")
        text = self.decode(chunk)
        if self.refuses_nul and "\0" in text:
            before = text[: text.index("\0")]
            raise DataError(
                f"{self.name} has a NUL on line {line + before.count(chr(10))}: it is not text. "
                "Read it with --vocab bytes"
            )
        if "\r\n" in text and not any("CRLF" in note for note in self.notes):
            self.notes.append(f"{self.name} ends lines with CRLF: kept, as two characters each")
        return text

    def decode(self, chunk: bytes) -> str:
        held, _ = self.decoder.getstate()
        try:
            text = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode()
            line = self.line + before.count("\n")
            column = len(before.rpartition("\n")[2]) + (1 if "\n" in before else self.column)
            wide = self.offset == 0 and chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            cure = "it looks like UTF-16: convert it with iconv -f utf-16 -t utf-8, or read"
            raise DataError(
                f"{self.name} is not UTF-8 at byte {self.offset - len(held) + error.start} "
                f"(line {line}, column {column}): {cure if wide else 'convert it, or read'} it "
                "with --vocab bytes"
            ) from None
        self.offset += len(chunk)
        self.line += text.count("\n")
        last = text.rfind("\n")
        self.column = len(text) + self.column if last < 0 else len(text) - last
        return text
