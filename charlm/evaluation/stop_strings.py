"""Stop strings in a stream of bytes: what may be shown before it is clear whether one follows.

Source: Knuth, Morris and Pratt (1977), "Fast pattern matching in strings": the table of borders.
"""

from array import array
from collections.abc import Sequence
from functools import lru_cache


class StopStrings:
    """Search for the first stop string in a text that comes piece by piece.

    A stop string is never part of what is released. What might become one is held back.

    Attributes:
        found: The stop string that was found, or None.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        """Start with an empty text."""
        ordered = sorted(dict.fromkeys(strings), key=len, reverse=True)  # of two, the longer one
        self._encoded = {one: one.encode("utf-8", "surrogateescape") for one in ordered}
        self._matched = dict.fromkeys(ordered, 0)  # bytes of each that end the text so far
        self._held = b""
        self.found: str | None = None

    def add(self, piece: bytes) -> bytes:
        """Add a piece; return the bytes that are certain to precede any stop string.

        Args:
            piece: At most one stop string may end in it: a character or a byte.
        """
        if not self._encoded:
            return piece
        self._held += piece
        for string, data in self._encoded.items():
            self._matched[string] = _advance(data, self._matched[string], piece)
            if self._matched[string] == len(data):
                self.found = string
                released, self._held = self._held.removesuffix(data), b""
                return released
        split = len(self._held) - max(self._matched.values())
        released, self._held = self._held[:split], self._held[split:]
        return released

    def finish(self) -> bytes:
        """Return what was held back: the text ends, and no stop string has come."""
        released, self._held = self._held, b""
        return released


def _advance(data: bytes, matched: int, piece: bytes) -> int:
    """Return how many first bytes of a string end a text, after a piece was added to it."""
    borders = _borders(data)
    for byte in piece:
        while matched and (matched == len(data) or data[matched] != byte):
            matched = borders[matched - 1]
        matched += data[matched] == byte
    return matched


@lru_cache(maxsize=256)  # all samples of a call have the same stop strings
def _borders(data: bytes) -> "array[int]":
    """Return, for each prefix, the length of the longest shorter prefix that ends it."""
    borders, matched = array("q", [0]), 0
    for byte in data[1:]:
        while matched and data[matched] != byte:
            matched = borders[matched - 1]
        matched += data[matched] == byte
        borders.append(matched)
    return borders
