"""What the ids of a text are as characters: letters, white space, brackets."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from charlm.alphabet import Vocabulary, TokenIds

REPLACEMENT_CHARACTER = 0xFFFD  # the replacement character: no letter, no space


def ids_to_text(ids: TokenIds, alphabet: Vocabulary) -> str:
    """One character for each id; the replacement character for the escape and what is not ASCII
    among bytes."""
    symbols = np.array((*alphabet.tokens, REPLACEMENT_CHARACTER), dtype="<u4")
    if alphabet.kind == "bytes":
        symbols[128:] = REPLACEMENT_CHARACTER
    return symbols[ids].tobytes().decode("utf-32-le")


def vocabulary_mask(alphabet: Vocabulary, asked: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Of which ids this is true as characters, (symbols,)."""
    return np.array([asked(one) for one in ids_to_text(np.arange(alphabet.size), alphabet)])
