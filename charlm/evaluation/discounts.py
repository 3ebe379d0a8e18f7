"""Discounts of modified Kneser-Ney, estimated from how many n-grams have each small count."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.data.sorting import count_unique, sorted_unique
from charlm.data.vocabulary import TokenIds

SAMPLE = 1 << 20  # n-grams from which discounts are estimated: those with certain hashes
DEFAULT = 0.75  # discount where too few n-grams have one of these counts
LEAST_COUNTED = 5  # n-grams with each of the counts 1 to 4 that an estimate needs
LEAST = 0.05  # something is always left for what was never seen
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
Values = NDArray[np.float64]


class Discounts(NamedTuple):
    """Discounts of the counts 0, 1, 2 and at least 3, by context length, (order, 4)."""

    raw: Values  # of counts, where a context is the longest
    continuation: Values  # of numbers of different preceding tokens, where it is shorter


def estimate_discounts(train: TokenIds, vocabulary_size: int, order: int) -> Discounts:
    """Return the discounts for n-grams of order 1, 2, ..., each with its own.

    Of a long text, a part of all different n-grams is counted, chosen by a hash.

    Args:
        train: Ids that n-grams are counted on, (length,).
        vocabulary_size: Number of ids.
        order: Longest n-gram in tokens.

    Source: Chen & Goodman (1999), section 3.
    """
    sampled_bits = max(0, (len(train) // SAMPLE).bit_length())
    symbols = _mix(train.astype(np.uint64) + np.uint64(1))
    hashes = symbols  # of the n-gram that starts at each token
    raw, continuation = [], []
    for length in range(1, order + 1):
        is_sampled = np.ones(len(hashes), bool)
        if sampled_bits:
            is_sampled = _mix(hashes) >> np.uint64(64 - sampled_bits) == 0
        sample = hashes[is_sampled]
        raw.append(_discounts(count_unique(sample)[1]))
        has_preceding = np.flatnonzero(is_sampled[1:])  # of the sampled n-grams but the first
        preceding = train[has_preceding].astype(np.uint64)
        bits = np.uint64(vocabulary_size.bit_length())
        pairs = sorted_unique((_mix(hashes[has_preceding + 1]) << bits) | preceding)
        continuation.append(_discounts(count_unique(pairs >> bits)[1]))
        hashes = hashes[:-1] * MULTIPLIER + symbols[length:] if len(hashes) else hashes
    return Discounts(np.array(raw), np.array(continuation))


def _discounts(counts: NDArray[np.int64]) -> list[float]:
    """Return the discounts of counts 0, 1, 2 and at least 3, given the count of each n-gram."""
    once, twice, thrice, four_times = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].tolist()
    if min(once, twice, thrice, four_times) < LEAST_COUNTED:
        return [0.0, DEFAULT, DEFAULT, DEFAULT]
    share = once / (once + 2 * twice)
    estimates = (
        1 - 2 * share * twice / once,
        2 - 3 * share * thrice / twice,
        3 - 4 * share * four_times / thrice,
    )
    return [0.0, *(float(np.clip(d, LEAST, k)) for k, d in enumerate(estimates, start=1))]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values * MULTIPLIER
    mixed ^= mixed >> np.uint64(29)
    mixed *= MULTIPLIER
    mixed ^= mixed >> np.uint64(32)
    return mixed
