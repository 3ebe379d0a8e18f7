"""A stretch of text symbol by symbol: as a model reads it, and as a person does."""

from typing import NamedTuple

import numpy as np

from charlm.alphabet import Alphabet, Ids
from charlm.encoding import Encoded


class Passage(NamedTuple):
    """ids, those from the escape on unseen; and how each is written."""

    ids: Ids
    symbols: list[str]


def given(text: str, most: int, alphabet: Alphabet) -> Passage:
    """The beginning of what the person wrote."""
    ids = np.array(alphabet.encode(text)[:most], np.int64)
    characters = alphabet.kind == "characters"
    return Passage(ids, list(text[:most]) if characters else list(map(byte, ids)))


def taken(encoding: Encoded, span: tuple[int, int], most: int, alphabet: Alphabet) -> Passage:
    """The beginning of a stretch of an encoded text."""
    start, end = span
    ids = np.array(encoding.ids[start : min(end, start + most)], np.int64)
    if alphabet.kind == "bytes":
        return Passage(ids, list(map(byte, ids)))
    return Passage(ids, [chr(encoding.facts.symbols[place]) for place in ids])


def byte(value: int) -> str:
    """As it is where it is ASCII, else as Python writes it."""
    return chr(value) if value < 0x80 else f"\\x{value:02x}"
