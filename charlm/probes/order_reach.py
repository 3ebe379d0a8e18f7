"""Order reach: one number of a curve of lost bits.

The curve is made monotone, as what is lost beyond k is at least what is lost beyond more. The reach
is where it falls below a fixed tolerance, interpolated on logarithmic k.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from charlm.evaluation.blocks import Numbers

TOLERANCE = 0.01  # bits per character, the same for every model


def order_reach(lengths: Sequence[int], sums: Numbers, counts: Numbers) -> Numbers:
    """Return the reach of each curve in characters, infinite from the largest length on.

    Args:
        lengths: Characters that keep their order, (K,), ascending.
        sums: Excess bits, (..., K).
        counts: What they are divided by, broadcast to the sums; a length without any is left out.
    """
    counts = np.broadcast_to(counts, sums.shape)
    is_measured = counts.reshape(-1, len(lengths)).any(0)
    kept = np.asarray(lengths)[is_measured]
    octaves = read_order_reach(sums[..., is_measured], counts[..., is_measured], kept)
    result: Numbers = np.where(octaves < np.log2(kept[-1]), 2**octaves, np.inf)
    return result


def read_order_reach(
    sums: Numbers, counts: Numbers, lengths: NDArray[np.int64], tolerance: float = TOLERANCE
) -> Numbers:
    """Return the reach of each curve, as the logarithm to base 2 of characters.

    Args:
        sums: Excess bits, (..., lengths).
        counts: What they are divided by, broadcast to the sums.
        lengths: Characters that keep their order, ascending.
        tolerance: Bits per character that count as none.

    Returns:
        (...,); the first or last length where the curve is below or above the tolerance
        everywhere.
    """
    curve = _fit_decreasing(sums, np.broadcast_to(counts, sums.shape))
    octaves = np.log2(np.asarray(lengths, float))
    above = curve > tolerance
    last = np.clip(above.sum(-1) - 1, 0, len(octaves) - 2)[..., None]
    high = np.take_along_axis(curve, last, -1)[..., 0]
    low = np.take_along_axis(curve, last + 1, -1)[..., 0]
    drop = np.where(high > low, high - low, 1.0)
    part = np.clip((high - tolerance) / drop, 0, 1)
    reach = octaves[last[..., 0]] + part * (octaves[last[..., 0] + 1] - octaves[last[..., 0]])
    reach = np.where(above.any(-1), reach, octaves[0])
    result: Numbers = np.where(above.all(-1), octaves[-1], reach)
    return result


def _fit_decreasing(sums: Numbers, counts: Numbers) -> Numbers:
    """Return the decreasing curve that is nearest to the means in weighted squares.

    Source: Robertson, Wright and Dykstra (1988), "Order restricted statistical inference", 1.4.
    """
    points = sums.shape[-1]
    zero = np.zeros((*sums.shape[:-1], 1))
    total = np.concatenate([zero, np.cumsum(sums, -1)], -1)
    weight = np.concatenate([zero, np.cumsum(counts, -1)], -1)
    fitted = np.empty_like(sums)
    for point in range(points):
        # Means from each start up to here over means to each end from here on.
        starts, ends = slice(0, point + 1), slice(point + 1, points + 1)
        weights = weight[..., None, ends] - weight[..., starts, None]
        means = (total[..., None, ends] - total[..., starts, None]) / np.maximum(weights, 1e-9)
        fitted[..., point] = means.max(-1).min(-1)
    return fitted
