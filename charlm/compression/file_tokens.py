"""Tokens of a file of any bytes, and the bytes of tokens.

A model of characters codes a byte that is not UTF-8 as an unknown character: its code point is one
of the surrogates U+DC80 to U+DCFF, which no text in UTF-8 has (PEP 383). They have their share
among the code points already, so that nothing else costs more.
"""

import codecs
from collections.abc import Iterator

from charlm.data.vocabulary import Vocabulary

INVALID_BYTES = range(0xDC80, 0xDD00)  # code points of the bytes 0x80 to 0xFF
SURROGATES = range(0xD800, 0xE000)


class FileTokenizer:
    """Converter of the bytes of a file, chunk by chunk, to tokens and code points."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Start at the beginning of a file."""
        self.unknown_id = vocabulary.unk_id
        self.id_of = {token: index for index, token in enumerate(vocabulary.tokens)}
        self.decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def tokens(self, chunk: bytes) -> Iterator[tuple[int, int]]:
        """Iterate over token and code point, or byte, of a chunk; b"" is the end of the file."""
        if self.unknown_id is None:
            yield from ((byte, byte) for byte in chunk)
            return
        for character in self.decoder.decode(chunk, final=not chunk):
            code_point = ord(character)
            yield self.id_of.get(code_point, self.unknown_id), code_point


def token_bytes(vocabulary: Vocabulary) -> list[bytes]:
    """Return the bytes of each token but the unknown one."""
    if vocabulary.unk_id is None:
        return [bytes([token]) for token in vocabulary.tokens]
    return [chr(token).encode() for token in vocabulary.tokens]


def code_point_bytes(code_point: int) -> bytes:
    """Return the bytes of a code point.

    Raises:
        ValueError: It is a surrogate that stands for no byte.
    """
    if code_point in SURROGATES and code_point not in INVALID_BYTES:
        raise ValueError(f"U+{code_point:04X} is not a character")
    return chr(code_point).encode("utf-8", "surrogateescape")
