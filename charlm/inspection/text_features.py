"""What a person sees of where they are in a text: quotes, brackets, indentation, line, word."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charlm.data.delimiters import QUOTE_PAIRS

FeatureValues = NDArray[np.float64]  # (length,), of each character once it is read
OPENERS, CLOSERS = "([{", ")]}"


def text_features(symbols: Sequence[str]) -> dict[str, FeatureValues]:
    """Of a text, symbol by symbol: where each is. All is known once the symbol is read, but for
    the end of a word, which is only seen at the next.

    An empty line ends every quote and bracket: one that is never closed misleads no further.
    """
    quote, depth, indent, column = "", 0, 0, 0  # the mark that is open
    margin = True  # nothing but white space on this line so far
    rows = []
    for at, symbol in enumerate(symbols):
        if symbol == "\n":
            if margin:
                quote, depth = "", 0
            indent, column, margin = 0, 0, True
        else:
            column += 1
            margin &= symbol in " \t\r"
            indent += margin and symbol != "\r"
        if quote:
            quote = "" if symbol in QUOTE_PAIRS[quote] else quote
        elif symbol in QUOTE_PAIRS:
            quote = symbol
        depth = max(0, depth + (symbol in OPENERS) - (symbol in CLOSERS))
        following = symbols[at + 1 : at + 2]
        ends = symbol.isalnum() and not any(s.isalnum() for s in following)
        rows.append((bool(quote), depth, indent, column, ends))
    names = ("inside a quote", "bracket depth", "indentation", "place in the line", "end of a word")
    return dict(zip(names, np.array(rows, np.float64).T, strict=True))
