"""How far back order matters, as one number of a curve of lost bits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.01  # bits per character, the same for every model
Floats = NDArray[np.float64]


def order_reach(lengths: Sequence[int], excess: Floats, tolerance: float = TOLERANCE) -> Floats:
    """Return the smallest length from which on every excess is within the tolerance.

    Between two lengths the excess is interpolated linearly in the logarithm of the length.

    Args:
        lengths: Characters of true context, (K,), ascending.
        excess: Bits lost at each of them, (..., K); NaN counts as within.
        tolerance: Bits per character.

    Returns:
        Characters, (...): the first length if all are within, infinite if the last one is not.
    """
    excess = np.asarray(excess, np.float64)
    log_lengths = np.log2(np.asarray(lengths, np.float64))
    outside = excess > tolerance
    last = len(lengths) - 1 - np.argmax(outside[..., ::-1], axis=-1)  # last length outside
    following = np.minimum(last + 1, len(lengths) - 1)
    before, after = (
        np.take_along_axis(excess, row[..., None], axis=-1)[..., 0] for row in (last, following)
    )
    after = np.where(np.isfinite(after), after, tolerance)
    drop = np.where(before > after, before - after, 1.0)
    share = np.where(before > after, (before - tolerance) / drop, 0.0)
    reach = 2 ** (log_lengths[last] + share * (log_lengths[following] - log_lengths[last]))
    reach = np.where(outside[..., -1], np.inf, reach)
    result: Floats = np.where(outside.any(axis=-1), reach, float(lengths[0]))
    return result
