"""Text span: token ids as the model reads them, and the tokens as they are displayed."""

from typing import NamedTuple

import numpy as np

from charlm.data.documents import Documents, Starts
from charlm.data.encoded_text import EncodedText
from charlm.data.vocabulary import TokenIds, Vocabulary


class TextSpan(NamedTuple):
    """A part of a text."""

    ids: TokenIds  # (length,), int64
    tokens: list[str]  # as displayed
    starts: Starts | None = None  # (length,), tokens before which the state is reset; None: none


def span_from_string(
    text: str, vocabulary: Vocabulary, documents: Documents | None = None
) -> TextSpan:
    """Return a string as a span, with the documents that begin in it."""
    ids = np.array(vocabulary.encode(text), np.int64)
    starts = documents.mark(ids, 0, len(ids)) if documents else None
    if vocabulary.kind == "bytes":
        return TextSpan(ids, list(map(format_byte, ids)), starts)
    return TextSpan(ids, list(text), starts)


def span_from_corpus(
    encoding: EncodedText, span: tuple[int, int], max_tokens: int, vocabulary: Vocabulary
) -> TextSpan:
    """Return the beginning of a span (first token, one past the last) of an encoded text."""
    start, end = span[0], min(span[1], span[0] + max_tokens)
    stored = encoding.ids.span(start, end)
    ids = np.array(stored[:], np.int64)
    starts = stored.documents.mark(stored, 0, len(ids)) if stored.documents else None
    if vocabulary.kind == "bytes":
        return TextSpan(ids, list(map(format_byte, ids)), starts)
    return TextSpan(ids, list(encoding.text(start, end)), starts)


def format_byte(value: int) -> str:
    r"""Return an ASCII byte as its character, another one as \xNN."""
    return chr(value) if value < 0x80 else f"\\x{value:02x}"
