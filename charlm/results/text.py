"""Identity and splits of a text."""

import msgspec


class TextDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of a text."""

    sha256: str  # of all bytes, in order
    parts: tuple[int, ...]  # bytes of the corpus and of each separate split file


class CorpusRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Corpus metadata stored with a run: sources, SHA-256, splits.

    It is used to reload the same text and to verify it.
    """

    sources: tuple[str, ...]  # absolute paths or names of built-in corpora
    digest: TextDigest
    characters: int | None  # None if the bytes are not UTF-8
    splits: dict[str, tuple[int, int]]  # name -> first token and one past the last
    notes: tuple[str, ...]  # oddities of the text that were kept as they are
