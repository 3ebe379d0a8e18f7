"""TODO docstring."""

import msgspec


class TextDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What names a text: the hash of its bytes, and the length in bytes of each of its parts."""

    sha256: str
    parts: tuple[int, ...]


class CorpusRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run records of its corpus: enough to find the same text again, and to know it."""

    sources: tuple[str, ...]
    digest: TextDigest
    characters: int | None
    splits: dict[str, tuple[int, int]]  # in symbols of the alphabet: the first, one past the last
    notes: tuple[str, ...]
