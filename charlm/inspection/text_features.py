"""Text features per character: quotation, bracket depth, indentation, column, end of a word."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charlm.data.delimiters import open_delimiters

# Features that begin at a character, last for some, and end.
EPISODIC_FEATURES = ("inside a quote", "bracket depth", "indentation", "end of a word")
FeatureValues = NDArray[np.float64]  # (length,), after each character


def text_features(characters: Sequence[str]) -> dict[str, FeatureValues]:
    """Return the features of a text by name, each (length,).

    All of them follow from the characters up to and including the current one, except the end of
    a word, which needs the next one.
    """
    inside_quote, bracket_depth = open_delimiters(characters)
    indentation, column = 0, 0
    is_blank_so_far = True  # since the beginning of the line
    line_features = []
    for position, character in enumerate(characters):
        if character == "\n":
            indentation, column, is_blank_so_far = 0, 0, True
        else:
            column += 1
            is_blank_so_far &= character in " \t\r"
            indentation += is_blank_so_far and character != "\r"
        following = characters[position + 1 : position + 2]
        ends_word = character.isalnum() and not any(map(str.isalnum, following))
        line_features.append((indentation, column, ends_word))
    names = ("indentation", "column", "end of a word")
    columns = np.array(line_features, np.float64).reshape(-1, len(names)).T
    return {
        "inside a quote": inside_quote.astype(np.float64),
        "bracket depth": bracket_depth.astype(np.float64),
        **dict(zip(names, columns, strict=True)),
    }
