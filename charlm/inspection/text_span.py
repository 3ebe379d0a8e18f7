"""Text span: token ids as the model reads them, and the tokens as they are displayed."""

from typing import NamedTuple

import numpy as np

from charlm.data.encoded_text import EncodedText
from charlm.data.vocabulary import TokenIds, Vocabulary


class TextSpan(NamedTuple):
    """A part of a text."""

    ids: TokenIds  # (length,), int64
    tokens: list[str]  # as displayed


def span_from_string(text: str, vocabulary: Vocabulary) -> TextSpan:
    """Return a string as a span."""
    ids = np.array(vocabulary.encode(text), np.int64)
    if vocabulary.kind == "bytes":
        return TextSpan(ids, list(map(format_byte, ids)))
    return TextSpan(ids, list(text))


def span_from_corpus(
    encoding: EncodedText, span: tuple[int, int], max_tokens: int, vocabulary: Vocabulary
) -> TextSpan:
    """Return the beginning of a span (first token, one past the last) of an encoded text."""
    start, end = span[0], min(span[1], span[0] + max_tokens)
    ids = np.array(encoding.ids[start:end], np.int64)
    if vocabulary.kind == "bytes":
        return TextSpan(ids, list(map(format_byte, ids)))
    return TextSpan(ids, list(encoding.text(start, end)))


def format_byte(value: int) -> str:
    r"""Return an ASCII byte as its character, another one as \xNN."""
    return chr(value) if value < 0x80 else f"\\x{value:02x}"
