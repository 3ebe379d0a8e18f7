"""Costs of a text summed over its units: files, lines or contiguous blocks."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.units import Edges

Numbers = NDArray[np.float64]


def sum_by_unit(windows: Iterator[Tensor], edges: Edges) -> Numbers:
    """Sum costs of a text, given in windows (time, 1), over the units with these edges."""
    ends = edges[1:]
    sums, position = np.zeros(len(ends)), 0
    for window in windows:
        positions = np.arange(position, position + len(window))
        unit = np.searchsorted(ends, positions, side="right")
        sums += np.bincount(unit, window[:, 0].numpy(), len(ends))
        position += len(window)
    return sums
