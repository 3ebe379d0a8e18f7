"""The alphabet: symbols of a text <-> ids, and what a symbol costs that is not in it."""

import math
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

UNICODE_CODE_POINTS = 0x110000  # 1,114,112: what a character may be, all told
TokenIds = NDArray[np.integer]


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The symbols that training saw; a symbol's id is its place in `symbols`.

    kind "characters": symbols are Unicode code points, in order of first appearance; one more id,
    the escape, stands for every character that training never saw.
    kind "bytes": symbols are the 256 bytes; there is no escape, for nothing else exists.
    """

    kind: Literal["characters", "bytes"]
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        """An alphabet may come from anybody: no symbol twice, and none that is not one."""
        if self.kind == "bytes" and self.tokens != tuple(range(256)):
            raise ValueError("the alphabet of bytes is 0 to 255")
        if len(set(self.tokens)) < len(self.tokens):
            raise ValueError("an alphabet has a symbol twice")
        if not all(0 <= s < UNICODE_CODE_POINTS and not 0xD800 <= s < 0xE000 for s in self.tokens):
            raise ValueError("an alphabet has a symbol that is no character")

    @property
    def unk_id(self) -> int | None:
        """The id of every unseen character."""
        return len(self.tokens) if self.kind == "characters" else None

    @property
    def size(self) -> int:
        """How many ids a model must know, the escape included."""
        return len(self.tokens) + (self.kind == "characters")

    @property
    def unk_cost_nats(self) -> float:
        """What naming an unseen character costs after the escape: one of all code points, evenly.

        So that the code stays decodable, and bits per character a true code length.
        """
        return math.log(UNICODE_CODE_POINTS)

    def encode(self, text: str) -> list[int]:
        """text -> ids, (length,); unseen characters become the escape."""
        if self.kind == "bytes":
            return list(text.encode("utf-8", "surrogateescape"))
        places = {symbol: place for place, symbol in enumerate(self.tokens)}
        return [places.get(ord(character), len(self.tokens)) for character in text]

    def decode(self, ids: TokenIds) -> bytes:
        """ids, none of them the escape -> the UTF-8 bytes of the text."""
        symbols = np.array(self.tokens, dtype="<u4")[ids]
        if self.kind == "bytes":
            return symbols.astype(np.uint8).tobytes()
        return symbols.tobytes().decode("utf-32-le").encode()


BYTE_VOCABULARY = Vocabulary("bytes", tuple(range(256)))
REPLACEMENT_CHARACTER = 0xFFFD  # the replacement character: no letter, no space


def ids_to_text(ids: TokenIds, alphabet: Vocabulary) -> str:
    """One character for each id; the replacement character for the escape and what is not ASCII
    among bytes."""
    symbols = np.array((*alphabet.tokens, REPLACEMENT_CHARACTER), dtype="<u4")
    if alphabet.kind == "bytes":
        symbols[128:] = REPLACEMENT_CHARACTER
    return symbols[ids].tobytes().decode("utf-32-le")


def vocabulary_mask(alphabet: Vocabulary, asked: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Of which ids this is true as characters, (symbols,)."""
    return np.array([asked(one) for one in ids_to_text(np.arange(alphabet.size), alphabet)])
