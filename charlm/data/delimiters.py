"""Delimiters of a text: brackets and quotation marks.

`match_brackets` finds openers with their closers in a whole text, and leaves out what is ambiguous.
`open_delimiters` says what is open at each character, from what was read so far alone.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DelimiterPairs = list[tuple[int, int]]  # positions of an opener and of its closer
MATCHING_OPENER = {")": "(", "]": "[", "}": "{"}
OPENING_BRACKETS = frozenset(MATCHING_OPENER.values())
# Opener -> closers. German quotations end with the mark that opens English ones.
QUOTE_PAIRS = {'"': '"', "“": "”", "„": "“”", "«": "»"}


def match_brackets(text: str) -> DelimiterPairs:
    """Return pairs of round, square and curly brackets, matched with a stack.

    A closer that does not fit the last opener shows that one of them is no bracket, but part of a
    smiley or a character that code speaks of. Everything that is open is then dropped.
    """
    pairs: DelimiterPairs = []
    stack: list[int] = []
    for match in re.finditer(r"[][(){}]", text):
        bracket, position = match[0], match.start()
        if bracket in OPENING_BRACKETS:
            stack.append(position)
        elif stack and text[stack[-1]] == MATCHING_OPENER[bracket]:
            pairs.append((stack.pop(), position))
        else:
            stack.clear()
    return pairs


def open_delimiters(characters: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return whether a quotation is open and how many brackets are, after each character.

    A blank line closes everything, so that an opener without a closer misleads no further.

    Returns:
        Two arrays, (length,): whether the character is in a quotation, its opener included and
        its closer excluded; the number of open brackets.
    """
    quote, depth = "", 0
    is_blank_line = True  # so far
    in_quotes, depths = [], []
    for character in characters:
        if character == "\n":
            if is_blank_line:
                quote, depth = "", 0
            is_blank_line = True
        else:
            is_blank_line &= character in " \t\r"
        if quote:
            quote = "" if character in QUOTE_PAIRS[quote] else quote
        elif character in QUOTE_PAIRS:
            quote = character
        if character in OPENING_BRACKETS:
            depth += 1
        elif character in MATCHING_OPENER:
            depth = max(0, depth - 1)
        in_quotes.append(bool(quote))
        depths.append(depth)
    return np.array(in_quotes, dtype=np.bool_), np.array(depths, dtype=np.int64)
