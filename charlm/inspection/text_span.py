"""Text span: token ids as the model reads them, and the tokens as they are displayed."""

from typing import NamedTuple

import numpy as np

from charlm.data.encoded_text import EncodedText
from charlm.data.vocabulary import TokenIds, Vocabulary


class TextSpan(NamedTuple):
    """A part of a text."""

    ids: TokenIds  # (length,); ids from `unk_id` on are unknown to the model
    tokens: list[str]  # as displayed


def span_from_string(text: str, max_tokens: int, vocabulary: Vocabulary) -> TextSpan:
    """Return the beginning of a string."""
    ids = np.array(vocabulary.encode(text)[:max_tokens], np.int64)
    if vocabulary.kind == "bytes":
        return TextSpan(ids, list(map(format_byte, ids)))
    return TextSpan(ids, list(text[:max_tokens]))


def span_from_corpus(
    encoding: EncodedText, span: tuple[int, int], max_tokens: int, vocabulary: Vocabulary
) -> TextSpan:
    """Return the beginning of a span (first token, one past the last) of an encoded text."""
    start, end = span
    ids = np.array(encoding.ids[start : min(end, start + max_tokens)], np.int64)
    if vocabulary.kind == "bytes":
        return TextSpan(ids, list(map(format_byte, ids)))
    return TextSpan(ids, [chr(encoding.metadata.tokens[id_]) for id_ in ids])


def format_byte(value: int) -> str:
    r"""Return an ASCII byte as its character, another one as \xNN."""
    return chr(value) if value < 0x80 else f"\\x{value:02x}"
