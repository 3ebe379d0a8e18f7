"""Delimiters of a text: matching brackets, quotation marks and indented blocks.

`match_*` find openers with their closers in a whole text, and leave out what is ambiguous.
`open_delimiters` says what is open at each character, from what was read so far alone.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

DelimiterPairs = list[tuple[int, int]]  # positions of an opener and of its closer
MATCHING_OPENER = {")": "(", "]": "[", "}": "{"}
OPENING_BRACKETS = frozenset(MATCHING_OPENER.values())
# Opener -> closers. German quotations end with the mark that opens English ones.
QUOTE_PAIRS = {'"': '"', "“": "”", "„": "“”", "«": "»"}
# Patterns of openers and closers. A closing single mark before a letter is an apostrophe.
PARAGRAPH_QUOTES = [
    *((opener, f"[{closers}]") for opener, closers in QUOTE_PAIRS.items()),
    ("‘", r"’(?!\w)"),
]
LINE_QUOTES = [(r"(?<!\w)'", r"'(?!\w)")]
TRIPLE_QUOTES = re.compile("\"{3}|'{3}")  # delimit strings of several lines in code


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


def match_quotes(text: str) -> DelimiterPairs:
    """Return pairs of quotation marks that alternate within a paragraph.

    Straight single marks must alternate within a line. If marks of a kind do not alternate, or one
    is left over, those of the paragraph are ambiguous and left out. So are marks after a backslash
    and three in a row.
    """
    pairs: DelimiterPairs = []
    text_without_triples = TRIPLE_QUOTES.sub("###", text)
    for kinds, spans in (
        (PARAGRAPH_QUOTES, _paragraph_spans(text)),
        (LINE_QUOTES, _line_spans(text)),
    ):
        for start, end in spans:
            for opener, closer in kinds:
                pairs += _pair_alternating(text_without_triples, start, end, opener, closer)
    return pairs


def match_indented_blocks(text: str) -> DelimiterPairs:
    """Return pairs of first characters of lines where an indented block begins and ends.

    A block ends at a line that is indented less than the line before. Its opener is the last
    line that is indented as little, or still less.
    """
    pairs: DelimiterPairs = []
    stack: list[tuple[int, int]] = []  # column and position of lines, by increasing column
    for start, end in _line_spans(text):
        line = text[start:end]
        indent = len(line) - len(line.lstrip(" \t"))
        column, position = len(line[:indent].expandtabs()), start + indent
        is_dedent = bool(stack) and column < stack[-1][0]
        while stack and stack[-1][0] > column:
            stack.pop()
        if is_dedent and stack:
            pairs.append((stack[-1][1], position))
        if stack and stack[-1][0] == column:
            stack.pop()
        stack.append((column, position))
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


def _pair_alternating(text: str, start: int, end: int, opener: str, closer: str) -> DelimiterPairs:
    is_opener, is_closer, is_either = (
        re.compile(rf"(?<!\\)(?:{pattern})") for pattern in (opener, closer, f"{opener}|{closer}")
    )
    positions = [match.start() for match in is_either.finditer(text, start, end)]
    pairs = list(zip(positions[::2], positions[1::2], strict=False))
    is_alternating = len(positions) == 2 * len(pairs) and all(
        is_opener.match(text, left) and is_closer.match(text, right) for left, right in pairs
    )
    return pairs if is_alternating else []


def _line_spans(text: str) -> Iterator[tuple[int, int]]:
    """Iterate over start and end of each line that is not blank."""
    start = 0
    for line in text.split("\n"):
        if line and not line.isspace():
            yield start, start + len(line)
        start += len(line) + 1


def _paragraph_spans(text: str) -> Iterator[tuple[int, int]]:
    """Iterate over start and end of each sequence of lines without a blank line."""
    paragraph_start, last_end = -1, -2
    for start, end in _line_spans(text):
        if start != last_end + 1:
            if paragraph_start >= 0:
                yield paragraph_start, last_end
            paragraph_start = start
        last_end = end
    if paragraph_start >= 0:
        yield paragraph_start, last_end
