"""Where a text closes what it has opened: brackets, quotation marks, blocks by indentation."""

import re
from collections.abc import Iterator

DelimiterPairs = list[tuple[int, int]]  # the places of an opener and of its closer
MATCHING_OPENER = {")": "(", "]": "[", "}": "{"}
# Opener and closers; German ones close with what opens English ones. After a backslash none is a
# mark, and before a letter a single one that closes is an apostrophe.
QUOTE_PAIRS = {'"': '"', "“": "”", "„": "“”", "«": "»"}
QUOTES = [*((opener, f"[{closers}]") for opener, closers in QUOTE_PAIRS.items()), ("‘", r"’(?!\w)")]
SINGLE = [(r"(?<!\w)'", r"'(?!\w)")]
DELIMITER = re.compile("\"{3}|'{3}")  # of a text of several lines, in code: no mark is in it


def match_brackets(text: str) -> DelimiterPairs:
    """Round, square and curly ones, by a stack.

    A closer that does not fit the last opener shows that one of the two is no bracket, but a smiley
    or a character that code speaks of: all that is open is then forgotten.
    """
    found: DelimiterPairs = []
    opened: list[int] = []
    for match in re.finditer(r"[][(){}]", text):
        mark, place = match[0], match.start()
        if mark not in MATCHING_OPENER:
            opened.append(place)
        elif opened and text[opened[-1]] == MATCHING_OPENER[mark]:
            found.append((opened.pop(), place))
        else:
            opened.clear()
    return found


def match_quotes(text: str) -> DelimiterPairs:
    """Of each kind those that alternate within a paragraph, straight single ones within a line.

    Where they do not, or one is left over, the paragraph's marks of this kind are ambiguous: they
    are left out, and cannot turn what follows inside out. Three in a row are none of them.
    """
    found: DelimiterPairs = []
    marks = DELIMITER.sub("###", text)
    for kinds, stretches in ((QUOTES, _paragraphs(text)), (SINGLE, _lines(text))):
        for start, end in stretches:
            for opener, closer in kinds:
                found += _pair_alternating(marks, start, end, opener, closer)
    return found


def match_indented_blocks(text: str) -> DelimiterPairs:
    """Where a line's first character stands further left than that of the line before; its opener
    is the first character of the last line that stood there, or still further left."""
    found: DelimiterPairs = []
    enclosing: list[tuple[int, int]] = []  # columns and places, each further right; the line before
    for start, end in _lines(text):
        line = text[start:end]
        indent = len(line) - len(line.lstrip(" \t"))
        column, place = len(line[:indent].expandtabs()), start + indent
        dedent = bool(enclosing) and column < enclosing[-1][0]
        while enclosing and enclosing[-1][0] > column:
            enclosing.pop()
        if dedent and enclosing:
            found.append((enclosing[-1][1], place))
        if enclosing and enclosing[-1][0] == column:
            enclosing.pop()
        enclosing.append((column, place))
    return found


def _pair_alternating(text: str, start: int, end: int, opener: str, closer: str) -> DelimiterPairs:
    opens, closes, either = (
        re.compile(rf"(?<!\\)(?:{mark})") for mark in (opener, closer, f"{opener}|{closer}")
    )
    marks = [match.start() for match in either.finditer(text, start, end)]
    pairs = list(zip(marks[::2], marks[1::2], strict=False))
    fit = all(opens.match(text, one) and closes.match(text, other) for one, other in pairs)
    return pairs if fit and 2 * len(pairs) == len(marks) else []


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Where each line begins and ends, but for blank ones."""
    start = 0
    for line in text.split("\n"):
        if line and not line.isspace():
            yield start, start + len(line)
        start += len(line) + 1


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Where each run of lines begins and ends that no blank line parts."""
    begun, before = -1, -2  # no line has ended
    for start, end in _lines(text):
        if start != before + 1:
            if begun >= 0:
                yield begun, before
            begun = start
        before = end
    if begun >= 0:
        yield begun, before
