"""Text blocks: costs of a text summed over contiguous blocks of nearly equal length.

Neighboring blocks are dependent, so a long text has long blocks, not many.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]

MAX_BLOCKS = 50
MIN_BLOCK_LENGTH = 1000  # tokens


def block_edges(length: int) -> NDArray[np.int64]:
    """Return the edges of the blocks of a text, (blocks + 1,); lengths differ by at most one."""
    blocks = max(1, min(length // MIN_BLOCK_LENGTH, MAX_BLOCKS))
    return np.arange(blocks + 1, dtype=np.int64) * length // blocks


def sum_by_block(windows: Iterator[Tensor], length: int) -> Numbers:
    """Sum costs of a text of `length` tokens, given in windows (time, 1), to (blocks,)."""
    ends = block_edges(length)[1:]
    sums, position = np.zeros(len(ends)), 0
    for window in windows:
        positions = np.arange(position, position + len(window))
        block = np.searchsorted(ends, positions, side="right")
        sums += np.bincount(block, window[:, 0].numpy(), len(ends))
        position += len(window)
    return sums
