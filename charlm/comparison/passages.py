"""Passages of a text on which two runs differ most, and distances between repeated words."""

import re

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation.blocks import Numbers
from charlm.evaluation.characters import display_character
from charlm.results.difference import CharacterDifference, PassageDifference

PASSAGE_LENGTH = 60  # characters
CONTEXT_LENGTH = 60  # characters before and after a passage
MIN_WORD_LENGTH = 4  # letters of a word that is worth remembering
DISTANCES = (64, 256, 1024)  # edges of the groups, in characters
DISTANCE_GROUPS = (
    "1 to 64 back",
    "65 to 256 back",
    "257 to 1,024 back",
    "further back",
    "new word",
)
NO_WORD = -1
WORD = re.compile(rf"[^\W\d_]{{{MIN_WORD_LENGTH},}}")
Indices = NDArray[np.int64]


def largest_passages(
    text: str, bits_a: Numbers, bits_b: Numbers, count: int, sign: int
) -> tuple[PassageDifference, ...]:
    """Return the passages with the largest differences, which do not overlap.

    Args:
        text: Text, (characters,).
        bits_a: Bits of each character to run A.
        bits_b: Bits of each character to run B.
        count: Passages at most.
        sign: 1 for those where A needs more bits, -1 for those where B does.
    """
    length = min(PASSAGE_LENGTH, len(text))
    totals = np.concatenate(([0.0], np.cumsum(bits_a - bits_b)))
    sums = sign * (totals[length:] - totals[:-length])
    passages: list[PassageDifference] = []
    while len(passages) < count and sums.max(initial=-np.inf) > 0:
        start = int(sums.argmax())
        passages.append(_passage(text, bits_a, bits_b, start, start + length))
        sums[max(0, start - length + 1) : start + length] = -np.inf
    return tuple(passages)


def character_differences(
    text: str, bits_a: Numbers, bits_b: Numbers
) -> tuple[CharacterDifference, ...]:
    """Return the characters of a text with their bits."""
    return tuple(
        CharacterDifference(character=display_character(character), bits_a=a, bits_b=b)
        for character, a, b in zip(text, bits_a.tolist(), bits_b.tolist(), strict=True)
    )


def distances_to_last_occurrence(text: str) -> Indices:
    """Return the group of each letter, by how far back its word was read before.

    Only words of at least 4 letters count. The first letter is left out, since it must be
    predicted before it is known which word it is.

    Returns:
        Index into `DISTANCE_GROUPS`, or -1, (characters,).
    """
    groups = np.full(len(text), NO_WORD)
    last: dict[str, int] = {}
    for match in WORD.finditer(text):
        start, end = match.span()
        previous = last.get(match[0])
        group = len(DISTANCE_GROUPS) - 1
        if previous is not None:
            group = int(np.searchsorted(DISTANCES, start - previous))
        groups[start + 1 : end] = group
        last[match[0]] = start
    return groups


def _passage(
    text: str, bits_a: Numbers, bits_b: Numbers, start: int, end: int
) -> PassageDifference:
    return PassageDifference(
        position=start,
        before=_display(text[max(0, start - CONTEXT_LENGTH) : start]),
        after=_display(text[end : end + CONTEXT_LENGTH]),
        difference=float((bits_a[start:end] - bits_b[start:end]).sum()),
        characters=character_differences(text[start:end], bits_a[start:end], bits_b[start:end]),
    )


def _display(text: str) -> str:
    return "".join(map(display_character, text))
