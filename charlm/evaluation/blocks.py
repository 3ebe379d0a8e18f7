"""TODO docstring."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]

MAX_BLOCKS = 50  # neighbours are alike: of a long text the blocks are long, not many
MIN_BLOCK_LENGTH = 1000  # symbols, at least


def block_edges(symbols: int) -> NDArray[np.int64]:
    """Where the blocks of a text begin and end, (blocks + 1,): equally long, to one symbol."""
    blocks = max(1, min(symbols // MIN_BLOCK_LENGTH, MAX_BLOCKS))
    return np.arange(blocks + 1, dtype=np.int64) * symbols // blocks


def sum_by_block(windows: Iterator[Tensor], symbols: int) -> Numbers:
    """Nats of a text of so many symbols, window by window, (time, 1) -> of its blocks, (blocks,)"""
    ends = block_edges(symbols)[1:]
    sums, at = np.zeros(len(ends)), 0
    for window in windows:
        block = np.searchsorted(ends, np.arange(at, at + len(window)), side="right")
        sums += np.bincount(block, window[:, 0].numpy(), len(ends))
        at += len(window)
    return sums
