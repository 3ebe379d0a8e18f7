"""A stretch of text symbol by symbol: as a model reads it, and as a person does."""

from typing import NamedTuple

import numpy as np

from charlm.data.encoded_text import EncodedText
from charlm.data.vocabulary import TokenIds, Vocabulary


class TextSpan(NamedTuple):
    """ids, those from the escape on unseen; and how each is written."""

    ids: TokenIds
    symbols: list[str]


def span_from_string(text: str, most: int, alphabet: Vocabulary) -> TextSpan:
    """The beginning of what the person wrote."""
    ids = np.array(alphabet.encode(text)[:most], np.int64)
    characters = alphabet.kind == "chars"
    return TextSpan(ids, list(text[:most]) if characters else list(map(format_byte, ids)))


def span_from_corpus(
    encoding: EncodedText, span: tuple[int, int], most: int, alphabet: Vocabulary
) -> TextSpan:
    """The beginning of a stretch of an encoded text."""
    start, end = span
    ids = np.array(encoding.ids[start : min(end, start + most)], np.int64)
    if alphabet.kind == "bytes":
        return TextSpan(ids, list(map(format_byte, ids)))
    return TextSpan(ids, [chr(encoding.metadata.tokens[place]) for place in ids])


def format_byte(value: int) -> str:
    """As it is where it is ASCII, else as Python writes it."""
    return chr(value) if value < 0x80 else f"\\x{value:02x}"
