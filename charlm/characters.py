"""What the ids of a text are as characters: letters, white space, brackets."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from charlm.alphabet import Alphabet, Ids

UNKNOWN = 0xFFFD  # the replacement character: no letter, no space


def characters(ids: Ids, alphabet: Alphabet) -> str:
    """One character for each id; the replacement character for the escape and what is not ASCII
    among bytes."""
    symbols = np.array((*alphabet.symbols, UNKNOWN), dtype="<u4")
    if alphabet.kind == "bytes":
        symbols[128:] = UNKNOWN
    return symbols[ids].tobytes().decode("utf-32-le")


def which(alphabet: Alphabet, asked: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Of which ids this is true as characters, (symbols,)."""
    return np.array([asked(one) for one in characters(np.arange(alphabet.size), alphabet)])
