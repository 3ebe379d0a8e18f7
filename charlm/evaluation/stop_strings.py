"""Stop strings in a stream of bytes: what may be shown before it is clear whether one follows."""

from collections.abc import Sequence


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
        self._prefixes = {
            data[:size] for data in self._encoded.values() for size in range(len(data))
        }
        self._longest = max(map(len, self._prefixes), default=0)
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
            if self._held.endswith(data):
                self.found = string
                released, self._held = self._held.removesuffix(data), b""
                return released
        sizes = range(min(len(self._held), self._longest), -1, -1)
        keep = next(
            size for size in sizes if self._held[len(self._held) - size :] in self._prefixes
        )
        released, self._held = (
            self._held[: len(self._held) - keep],
            self._held[-keep:] if keep else b"",
        )
        return released

    def finish(self) -> bytes:
        """Return what was held back: the text ends, and no stop string has come."""
        released, self._held = self._held, b""
        return released
