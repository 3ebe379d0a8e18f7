"""Costs of characters: those of their bytes added up, for models of bytes."""

import codecs
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.encoded_text import EncodedText
from charlm.data.vocabulary import VocabularyKind
from charlm.evaluation.blocks import Numbers

FIRST_SURROGATE, LAST_SURROGATE = 0xDC80, 0xDCFF  # bytes that are no UTF-8 (PEP 383)
CodePoints = NDArray[np.uint32]


class CharacterBits(NamedTuple):
    """Consecutive characters and the bits of each.

    Attributes:
        text: Characters; a byte that is not UTF-8 is a lone surrogate (PEP 383).
        bits: Cost of each, (characters,).
    """

    text: str
    bits: Numbers


class CharacterCosts:
    """Sums of the costs of tokens over characters, window by window.

    In a text that is not UTF-8, every byte counts as a character.
    """

    def __init__(
        self,
        encoding: EncodedText,
        start: int,
        kind: VocabularyKind,
        receive: Callable[[CharacterBits], object],
    ) -> None:
        """Begin at a token of an encoded text.

        Args:
            encoding: Encoded text.
            start: First token.
            kind: Kind of the vocabulary that encoded it.
            receive: Is called with consecutive characters.
        """
        self._encoding, self._kind, self._position = encoding, kind, start
        self._receive = receive
        name = "ascii" if encoding.metadata.characters is None else "utf-8"
        self._decoder = codecs.getincrementaldecoder(name)("surrogateescape")
        self._pending = np.zeros(0)  # bits of bytes whose character is incomplete

    def add(self, nats: Tensor) -> None:
        """Take the costs of the next tokens, (time, 1); pass on the characters that they end."""
        bits = nats[:, 0].numpy() / math.log(2)
        start, end = self._position, self._position + len(bits)
        self._position = end
        if self._kind == "chars":
            self._receive(CharacterBits(self._encoding.text(start, end), bits))
            return
        data = b"".join(self._encoding.iter_bytes(start, end, self._kind))
        self._pass_on(self._decoder.decode(data), np.concatenate((self._pending, bits)))

    def finish(self) -> None:
        """Pass on what a cut through a character has left at the end of the text."""
        self._pass_on(self._decoder.decode(b"", final=True), self._pending)

    def _pass_on(self, text: str, bits: Numbers) -> None:
        ends = np.cumsum(_utf8_lengths(code_points(text)))
        total = int(ends[-1]) if len(ends) else 0
        self._pending = bits[total:]
        if total:
            starts = np.concatenate(([0], ends[:-1]))
            self._receive(CharacterBits(text, np.add.reduceat(bits[:total], starts)))


def code_points(text: str) -> CodePoints:
    """Return the code points of a text, (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def display_character(character: str) -> str:
    r"""Return a character; a byte that is not UTF-8 is written \xNN."""
    point = ord(character)
    is_byte = FIRST_SURROGATE <= point <= LAST_SURROGATE
    return f"\\x{point - 0xDC00:02x}" if is_byte else character


def _utf8_lengths(points: CodePoints) -> NDArray[np.int64]:
    """Return how many bytes each character has; that of a lone surrogate is one."""
    lengths = np.ones(len(points), np.int64)
    for bound in (0x80, 0x800, 0x10000):
        lengths += points >= bound
    lengths[(points >= FIRST_SURROGATE) & (points <= LAST_SURROGATE)] = 1
    return lengths
