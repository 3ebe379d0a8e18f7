"""Different values of large arrays, their counts, and where they are found.

`np.unique` without counts, and `np.searchsorted` with many queries, take many times longer.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Integer = TypeVar("Integer", bound=np.integer)
SLOTS_PER_KEY = 8  # about
MAX_TABLE = 1 << 24  # values below are counted in a table
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def count_unique(values: NDArray[Integer]) -> tuple[NDArray[Integer], NDArray[np.int64]]:
    """Return the different values, none negative, sorted, and how often each occurs."""
    if len(values) and values.max() < MAX_TABLE:
        counts = np.bincount(values.astype(np.int64))
        present = np.flatnonzero(counts)
        return present.astype(values.dtype), counts[present]
    return np.unique(values, return_counts=True)


def sorted_unique(values: NDArray[Integer]) -> NDArray[Integer]:
    """Return the different values, none negative, sorted."""
    if len(values) and values.max() < MAX_TABLE:
        is_present = np.zeros(int(values.max()) + 1, bool)
        is_present[values] = True
        return np.flatnonzero(is_present).astype(values.dtype)
    ordered = np.sort(values)
    is_first = np.ones(len(ordered), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def find_sorted(keys: NDArray[np.int64], queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of each query in the keys, -1 where it is none of them.

    Args:
        keys: Different values, sorted.
        queries: Values, (queries,).
    """
    bits = (SLOTS_PER_KEY * len(keys)).bit_length()
    table = np.full((1 << bits) + len(keys) + 1, -1, np.int32)
    waiting, slots = np.arange(len(keys), dtype=np.int32), _slots(keys, bits)
    while len(waiting):  # a key whose slot is taken goes to the next
        is_free = table[slots] < 0
        table[slots[is_free]] = waiting[is_free]
        is_waiting = table[slots] != waiting
        waiting, slots = waiting[is_waiting], slots[is_waiting] + 1
    slots = _slots(queries, bits)
    found = table[slots].astype(np.int64)
    if not len(keys):
        return found
    asking = np.flatnonzero((found >= 0) & (keys[found] != queries))
    while len(asking):
        candidates = table[slots[asking] + 1]
        slots[asking] += 1
        found[asking] = candidates
        asking = asking[(candidates >= 0) & (keys[candidates] != queries[asking])]
    return found


def _slots(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    hashes = values.astype(np.uint64) * MULTIPLIER
    hashes >>= np.uint64(63 - bits)
    hashes >>= np.uint64(1)  # a shift by 64 would be none
    slots: NDArray[np.int64] = hashes.view(np.int64)
    return slots
