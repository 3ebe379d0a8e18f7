"""Streaming encoder: bytes to ids, chunk by chunk, in bounded memory."""

import codecs
import hashlib
from collections.abc import Sequence

import numpy as np

from charlm.data.sources import TextSource
from charlm.data.vocabulary import BYTE_VOCABULARY, UNICODE_CODE_POINTS, Vocabulary
from charlm.errors import DataError
from charlm.progress import ProgressCallback
from charlm.results.text import EncodingMetadata, TextDigest, TextNote
from charlm.storage import files

UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class StreamingEncoder:
    """Writer of the ids of a text to a file, in order of first appearance."""

    def __init__(
        self, file: files.AtomicFileWriter, vocabulary: Vocabulary | None, id_bytes: int
    ) -> None:
        """Create an encoder that starts with the tokens of a vocabulary, or with none."""
        self.file = file
        self.id_bytes = id_bytes
        self.is_bytes = vocabulary == BYTE_VOCABULARY
        self.refuses_nul = vocabulary is None  # in a text to learn from, but not in one to score
        self.tokens = list(vocabulary.tokens) if vocabulary else []
        self.first_positions = [-1] * len(self.tokens)
        self.id_of = np.full(UNICODE_CODE_POINTS, -1, dtype=np.int32)
        self.id_of[self.tokens] = np.arange(len(self.tokens))
        self.num_ids = 0
        self.part_ids: list[int] = []
        self.part_bytes: list[int] = []
        self.characters: int | None = 0
        self.text_digest, self.ids_digest = hashlib.sha256(), hashlib.sha256()
        self.notes: list[TextNote] = []

    def encode_part(self, part: Sequence[TextSource], count: ProgressCallback) -> bool:
        """Encode a part of the text.

        Returns:
            False if there are more tokens than ids of this width.
        """
        self.part_bytes.append(0)
        ids_before = self.num_ids
        is_complete = all(self._encode_source(source, count) for source in part)
        self.part_ids.append(self.num_ids - ids_before)
        return is_complete

    def metadata(self) -> EncodingMetadata:
        """Return what is to be stored beside the ids."""
        return EncodingMetadata(
            digest=TextDigest(self.text_digest.hexdigest(), tuple(self.part_bytes)),
            characters=self.characters,
            tokens=tuple(self.tokens),
            first_positions=tuple(self.first_positions),
            parts=tuple(self.part_ids),
            id_bytes=self.id_bytes,
            ids_sha256=self.ids_digest.hexdigest(),
            notes=tuple(self.notes),
        )

    def _encode_source(self, source: TextSource, count: ProgressCallback) -> bool:
        decoder = _Utf8Decoder(source.name, self.refuses_nul)
        chunks = source.chunks()
        is_last = False
        while not is_last:
            chunk = next(chunks, b"")  # b"" ends the decoder
            is_last = not chunk
            if self.is_bytes:
                self._encode_bytes(chunk, decoder)
            elif not self._encode_characters(decoder.decode_text(chunk)):
                return False
            self.text_digest.update(chunk)
            self.part_bytes[-1] += len(chunk)
            count(len(chunk))
        self.notes += decoder.notes
        return True

    def _encode_characters(self, text: str) -> bool:
        """Write the ids of characters; a new character gets the next id."""
        points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        ids = self.id_of[points]
        if len(ids) and ids.min() < 0:
            positions = np.flatnonzero(ids < 0)
            new_points, first = np.unique(points[positions], return_index=True)
            first_positions = positions[first].tolist()
            for position, point in sorted(zip(first_positions, new_points.tolist(), strict=True)):
                self.id_of[point] = len(self.tokens)
                self.tokens.append(point)
                self.first_positions.append(self.num_ids + position)
            ids = self.id_of[points]
        if len(self.tokens) > 256**self.id_bytes:
            return False
        self._write(ids.astype(f"<u{self.id_bytes}").tobytes(), len(ids))
        if self.characters is not None:
            self.characters += len(ids)
        return True

    def _encode_bytes(self, chunk: bytes, decoder: "_Utf8Decoder") -> None:
        """Write bytes as their own ids; count characters as long as the text is UTF-8."""
        self._write(chunk, len(chunk))
        if self.characters is not None:
            try:
                self.characters += len(decoder.decode(chunk))
            except DataError:
                self.characters = None
                self.notes.append(TextNote("not_utf8", decoder.name))

    def _write(self, data: bytes, num_ids: int) -> None:
        self.ids_digest.update(data)
        self.file.write(data)
        self.num_ids += num_ids


class _Utf8Decoder:
    """Incremental decoder of one source that can name the position of an error."""

    def __init__(self, name: str, refuses_nul: bool) -> None:
        self.name = name
        self.refuses_nul = refuses_nul
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.offset = 0  # of the next chunk, in bytes
        self.line = self.column = 1  # of the next character
        self.notes: list[TextNote] = []

    def decode_text(self, chunk: bytes) -> str:
        """Decode a chunk of text, b"" at the end. Note oddities, which are kept as they are."""
        line = self.line
        if not self.offset and chunk.startswith(codecs.BOM_UTF8):
            self.notes.append(TextNote("bom", self.name))
        text = self.decode(chunk)
        if self.refuses_nul and "\0" in text:
            nul_line = line + text[: text.index("\0")].count("\n")
            raise DataError(
                f"cannot read text: {self.name} has a NUL on line {nul_line}. Try --vocab bytes"
            )
        crlf = TextNote("crlf", self.name)
        if "\r\n" in text and crlf not in self.notes:
            self.notes.append(crlf)
        return text

    def decode(self, chunk: bytes) -> str:
        """Decode a chunk of UTF-8, b"" at the end.

        Raises:
            DataError: The bytes are not UTF-8; names the offset, line and column.
        """
        pending, _ = self.decoder.getstate()
        try:
            text = self.decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            valid = error.object[: error.start].decode()
            line = self.line + valid.count("\n")
            column = len(valid.rpartition("\n")[2]) + (1 if "\n" in valid else self.column)
            is_utf16 = self.offset == 0 and chunk[:2] in UTF16_BOMS
            advice = (
                "It looks like UTF-16: try iconv -f utf-16 -t utf-8"
                if is_utf16
                else "Try to convert it"
            )
            raise DataError(
                f"cannot read text: {self.name} is not UTF-8 at byte "
                f"{self.offset - len(pending) + error.start} (line {line}, column {column}). "
                f"{advice}, or --vocab bytes"
            ) from None
        self.offset += len(chunk)
        self.line += text.count("\n")
        last_newline = text.rfind("\n")
        self.column = len(text) + self.column if last_newline < 0 else len(text) - last_newline
        return text
