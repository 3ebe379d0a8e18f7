"""Order reach of cells: how far back the order of characters matters, and verdicts about it.

The order reach is read off a curve: the bits per character that a cell loses when everything
further back than k characters is shuffled. The curve is made monotone, as what is lost beyond k
is at least what is lost beyond more. The reach is where it falls below a fixed tolerance,
interpolated on logarithmic k. It is compared in octaves (factors of two).

A reach is no sum over the text. Its uncertainty is that of the influence of each unit: how much
the reach changes where the unit is left out. These influences then go through the same two-way
bootstrap as every other quantity.

Source: Efron (1982), "The jackknife, the bootstrap and other resampling plans".
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.comparison.paired_sample import Counts, summarize_seeds
from charlm.comparison.verdicts import Judgement, judge
from charlm.evaluation.blocks import Numbers
from charlm.probes.order_reach import read_order_reach
from charlm.results.text import UnitKind
from charlm.results.verdicts import Judged

ORDER_REACH_MARGIN = 0.5  # octaves


def judge_order_reach(
    curves: Mapping[str, Numbers],
    counts: Counts,
    lengths: Sequence[int],
    reference: str,
    *,
    unit_kind: UnitKind,
    margin: float = ORDER_REACH_MARGIN,
) -> Judgement:
    """Judge how far back the order of characters matters.

    Args:
        curves: Cell -> excess bits of each unit where everything further back than each length
            is shuffled, (seeds, lengths, units); not finite where a seed diverged.
        counts: Characters of each unit that were measured at each length, (lengths, units).
        lengths: Characters that keep their order, ascending.
        reference: Cell that the others are compared with.
        unit_kind: What a unit is.
        margin: Smallest relevant difference in octaves.

    Returns:
        Values and their intervals in characters, with the geometric mean over seeds. Differences
        in verdicts are in octaves. A reach at either end of the lengths is a bound, and never
        equivalent to another.
    """
    total = np.asarray(counts, float)
    measured, kept = total.any(1), total.any(0)
    kept_lengths = np.asarray(lengths)[measured]
    values, bounds = {}, set()
    for cell, sums in curves.items():
        values[cell] = order_reach_influences(
            sums[:, measured][:, :, kept], total[measured][:, kept], kept_lengths
        )
        reaches = values[cell].mean(1)
        if np.isin(reaches, np.log2(kept_lengths[[0, -1]])).any():
            bounds.add(cell)
    judgement = judge(
        values,
        np.ones(int(kept.sum())),
        reference,
        margin,
        quantity="order_reach",
        unit_kind=unit_kind,
        higher_is_better=True,
        bounds=bounds,
    )
    return judgement._replace(
        cells={cell: _in_characters(judged) for cell, judged in judgement.cells.items()}
    )


def order_reach_influences(sums: Numbers, counts: Numbers, lengths: NDArray[np.int64]) -> Numbers:
    """Return the reach of each seed in octaves, spread over units by their influence.

    The mean over units is the reach of the seed.

    Args:
        sums: Excess bits, (seeds, lengths, units).
        counts: What they are divided by, (lengths, units).
        lengths: Characters that keep their order, (lengths,).

    Returns:
        (seeds, units); NaN for a seed whose sums are not all finite.
    """
    units = counts.shape[1]
    finished: NDArray[np.bool_] = np.asarray(np.isfinite(sums).all((1, 2)))
    sums = np.where(finished[:, None, None], sums, 0.0)
    total, total_counts = sums.sum(2), counts.sum(1)
    reach = read_order_reach(total, total_counts, lengths)
    rest = np.moveaxis(total[:, :, None] - sums, 2, 1)  # (seeds, units, lengths)
    without = read_order_reach(rest, (total_counts[:, None] - counts).T, lengths)
    influences: Numbers = (units - 1) * (without.mean(1, keepdims=True) - without)
    result: Numbers = np.where(finished[:, None], reach[:, None] + influences, np.nan)
    return result


def _in_characters(judged: Judged) -> Judged:
    """Return a value in octaves as characters; its verdict stays in octaves."""
    value = summarize_seeds([None if one is None else 2**one for one in judged.value.per_seed])
    if judged.value.mean is not None:
        value = msgspec.structs.replace(value, mean=2**judged.value.mean)
    low, high = judged.ci_low, judged.ci_high
    return msgspec.structs.replace(
        judged,
        value=value,
        ci_low=None if low is None else 2**low,
        ci_high=None if high is None else 2**high,
    )
