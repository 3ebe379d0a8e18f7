"""Streaming encoder: bytes to ids, chunk by chunk, in bounded memory."""

import codecs
import hashlib
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np

from charlm.data.formats import HEAD_BYTES, Format, identify, legacy_encoding
from charlm.data.sources import TextSource
from charlm.errors import DataError
from charlm.progress import ProgressCallback
from charlm.results.text import UNICODE_CODE_POINTS, SourceOddity, TextDigest, TextNote
from charlm.storage import files


def make_digest(sha256: str, source_bytes: Sequence[Sequence[int]]) -> TextDigest:
    """Return the identity of a text: its bytes, and where its parts and their files begin.

    Args:
        sha256: Of all bytes.
        source_bytes: Number of bytes of each source of each part.
    """
    files = ""
    if any(len(part) > 1 for part in source_bytes):
        files = hashlib.sha256(msgspec.json.encode(source_bytes)).hexdigest()
    return TextDigest(sha256, tuple(map(sum, source_bytes)), files)


class StreamingEncoder:
    """Writer of the ids of a text to a file, in order of first appearance.

    Attributes:
        tokens: Token of each id.
        sources: Ids of each source of each part.
        characters: Characters of the text; None if its bytes are not UTF-8.
    """

    def __init__(
        self, file: files.AtomicFileWriter, is_bytes: bool, is_new: bool, id_bytes: int
    ) -> None:
        """Create an encoder of bytes, each its own id, or of characters.

        Args:
            file: File of the ids.
            is_bytes: Whether tokens are bytes.
            is_new: Whether the vocabulary is made from this text, not that of a run.
            id_bytes: Width of an id.
        """
        self.file = file
        self.is_bytes, self.is_new, self.id_bytes = is_bytes, is_new, id_bytes
        self.tokens = list(range(256)) if is_bytes else []
        self.id_of = np.full(UNICODE_CODE_POINTS, -1, dtype=np.int32)
        self.num_ids = 0
        self.sources: list[tuple[int, ...]] = []
        self.source_bytes: list[list[int]] = []  # of each source of each part
        self.characters: int | None = 0
        self.text_digest = hashlib.sha256()
        self._unterminated = ""  # name of the last source, if it has no line end
        self._oddities: dict[SourceOddity, list[str]] = {}  # kind -> names of sources

    def encode_part(self, part: Sequence[TextSource], count: ProgressCallback) -> bool:
        """Encode a part of the text.

        Returns:
            False if there are more tokens than ids of this width.
        """
        self.source_bytes.append([])
        self._unterminated = ""  # nothing of another part goes on in this one
        edges = [self.num_ids]
        for source in part:
            if not self._encode_source(source, count):
                return False
            edges.append(self.num_ids)
        self.sources.append(tuple(end - start for start, end in pairwise(edges)))
        return True

    @property
    def digest(self) -> TextDigest:
        """Identity of the text that was encoded."""
        return make_digest(self.text_digest.hexdigest(), self.source_bytes)

    @property
    def notes(self) -> tuple[TextNote, ...]:
        """Oddities of the sources; each kind once, with its first source."""
        return tuple(
            TextNote(kind, names[0], files=len(names)) for kind, names in self._oddities.items()
        )

    def _encode_source(self, source: TextSource, count: ProgressCallback) -> bool:
        decoder = Utf8Decoder(source.name, self.is_new)
        self.source_bytes[-1].append(0)
        chunks = source.chunks()
        is_first, is_last = True, False
        while not is_last:
            chunk = next(chunks, b"")  # b"" ends the decoder
            is_last = not chunk
            if chunk and is_first and self._unterminated:
                self._note("glued", self._unterminated)
            if self.is_bytes:
                self._encode_bytes(chunk, decoder)
            elif not self._encode_characters(decoder.decode_text(chunk)):
                return False
            self.text_digest.update(chunk)
            self.source_bytes[-1][-1] += len(chunk)
            if chunk:
                is_whole = chunk.endswith(b"\n") or source.span is not None
                self._unterminated = "" if is_whole else source.name
                is_first = False
            count(len(chunk))
        for kind in decoder.oddities:
            self._note(kind, source.name)
        return True

    def _note(self, kind: SourceOddity, source: str) -> None:
        self._oddities.setdefault(kind, []).append(source)

    def _encode_characters(self, text: str) -> bool:
        """Write the ids of characters; a new character gets the next id."""
        points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        ids = self.id_of[points]
        if len(ids) and ids.min() < 0:
            new_points, first = np.unique(points[ids < 0], return_index=True)
            for point in new_points[np.argsort(first)].tolist():
                self.id_of[point] = len(self.tokens)
                self.tokens.append(point)
            ids = self.id_of[points]
        if len(self.tokens) > 256**self.id_bytes:
            return False
        self._write(ids.astype(f"<u{self.id_bytes}").tobytes(), len(ids))
        if self.characters is not None:
            self.characters += len(ids)
        return True

    def _encode_bytes(self, chunk: bytes, decoder: "Utf8Decoder") -> None:
        """Write bytes as their own ids; count characters as long as the text is UTF-8."""
        self._write(chunk, len(chunk))
        if self.characters is not None:
            try:
                self.characters += len(decoder.decode(chunk))
            except DataError:
                self.characters = None
                self._note("not_utf8", decoder.name)

    def _write(self, data: bytes, num_ids: int) -> None:
        self.file.write(data)
        self.num_ids += num_ids


class Utf8Decoder:
    """Incremental decoder of one source that can name the position of an error.

    Attributes:
        oddities: Oddities that were found in the source and are kept.
    """

    def __init__(self, name: str, is_new: bool) -> None:
        """Create a decoder of the source with this name.

        Args:
            name: Name of the source.
            is_new: Whether the vocabulary is made from this text: then a NUL is refused.
        """
        self.name = name
        self.is_new = is_new
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.format: Format | None = None  # that the first bytes tell, unless it is text
        self.offset = 0  # of the next chunk, in bytes
        self.line = self.column = 1  # of the next character
        self._line_ends = {"\r\n": 0, "\r": 0, "\n": 0}  # seen so far
        self._ends_in_cr = False
        self.has_bom = False

    @property
    def oddities(self) -> list[SourceOddity]:
        """Oddities that were found in the source and are kept."""
        found: list[SourceOddity] = ["bom"] if self.has_bom else []
        if self.format:
            found.append("no_text")
        if self._line_ends["\r\n"]:
            found.append("crlf")
        elif self._line_ends["\r"] and not self._line_ends["\n"]:
            found.append("cr")
        return found

    def decode_text(self, chunk: bytes) -> str:
        """Decode a chunk of text, b"" at the end. Note oddities, which are kept as they are."""
        line = self.line
        if not self.offset and (found := identify(chunk)):
            raise DataError(
                f"cannot read text: {self.name} {found.verb} {found.name}. "
                f"Try {self._advice(found)}"
            )
        text = self.decode(chunk)
        if self.is_new and "\0" in text:
            nul_line = line + text[: text.index("\0")].count("\n")
            raise DataError(
                f"cannot read text: {self.name} has a NUL on line {nul_line}. "
                f"Try {self.bytes_advice}"
            )
        return text

    def decode(self, chunk: bytes) -> str:
        """Decode a chunk of UTF-8, b"" at the end.

        Raises:
            DataError: The bytes are not UTF-8; names the offset, line and column.
        """
        if not self.offset:
            self.has_bom = chunk.startswith(codecs.BOM_UTF8)
            self.format = identify(chunk)
        pending, _ = self.decoder.getstate()
        try:
            text = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            valid = error.object[: error.start].decode()
            line = self.line + valid.count("\n")
            column = len(valid.rpartition("\n")[2]) + (1 if "\n" in valid else self.column)
            raise DataError(
                f"cannot read text: {self.name} is not UTF-8 at byte "
                f"{self.offset - len(pending) + error.start} (line {line}, column {column}). "
                f"{self._describe(error.object, error.start)}"
            ) from None
        self.offset += len(chunk)
        self._count_line_ends(text)
        last_newline = text.rfind("\n")
        self.column = len(text) + self.column if last_newline < 0 else len(text) - last_newline
        return text

    def _count_line_ends(self, text: str) -> None:
        """Count line ends; one may be cut in two by the end of a chunk."""
        newlines, pairs = text.count("\n"), text.count("\r\n")
        pairs += self._ends_in_cr and text.startswith("\n")
        self.line += newlines
        self._line_ends["\r\n"] += pairs
        self._line_ends["\n"] += newlines - pairs
        self._line_ends["\r"] += text.count("\r")
        self._ends_in_cr = text.endswith("\r")

    def _describe(self, data: bytes, place: int) -> str:
        """Return what to try with a text whose bytes are not UTF-8 at this place."""
        found = legacy_encoding(data[max(0, place - HEAD_BYTES // 2) : place + HEAD_BYTES // 2])
        if found is None:
            return f"Try to convert it, or {self.bytes_advice}"
        return f"It {found.verb} {found.name}. Try {self._advice(found)}"

    def _advice(self, found: Format) -> str:
        """Return what to do with a source of this format."""
        is_text = found.kind == "encoding"
        return f"{found.advice}, or {self.bytes_advice}" if is_text else found.advice

    @property
    def bytes_advice(self) -> str:
        """Advice for a file of any bytes; only training has an option for it."""
        return "--vocab bytes" if self.is_new else "a run trained with --vocab bytes"
