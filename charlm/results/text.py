"""Identity, encoding and splits of a text."""

import msgspec


class TextDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of a text."""

    sha256: str  # of all bytes, in order
    parts: tuple[int, ...]  # bytes of the corpus and of each separate split file


class EncodingMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`KEY.json` in the cache: an encoded text, whose ids are in `KEY.ids` next to it."""

    digest: TextDigest
    characters: int | None  # None if the bytes are not UTF-8
    tokens: tuple[int, ...]  # by id: first a given vocabulary, then new ones as they appeared
    first_positions: tuple[int, ...]  # index of each token's first occurrence; -1 if it was given
    parts: tuple[int, ...]  # ids of the corpus and of each separate split file
    id_bytes: int  # 1, 2 or 4 bytes per id
    ids_sha256: str  # of the file of ids
    notes: tuple[str, ...]  # oddities of the text that were kept as they are


class CorpusRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Corpus metadata stored with a run: sources, SHA-256, splits.

    It is used to reload the same text and to verify it.
    """

    sources: tuple[str, ...]  # absolute paths or names of built-in corpora
    digest: TextDigest
    characters: int | None  # None if the bytes are not UTF-8
    splits: dict[str, tuple[int, int]]  # name -> first token and one past the last
    notes: tuple[str, ...]  # oddities of the text that were kept as they are
