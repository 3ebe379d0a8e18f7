"""Places of a text that a probe measures, the same for all models."""

import numpy as np

from charlm.probes.base import ProbeContext
from charlm.probes.windows import Positions


def unit_of(context: ProbeContext, positions: Positions) -> Positions:
    """Return the index of the text's unit that each position is in."""
    return np.searchsorted(context.unit_edges, positions, side="right") - 1


def continuous_starts(context: ProbeContext) -> Positions:
    """Return for each token where the text that it belongs to begins, (length + 1,).

    That is the beginning of its file, where the text is cut by files. The last entry is of the end.
    """
    positions = np.arange(len(context.ids) + 1)
    if context.unit_kind != "file":
        return np.zeros_like(positions)
    last_token = max(0, len(context.ids) - 1)
    return context.unit_edges[unit_of(context, np.minimum(positions, last_token))]


def starts_with_room(context: ProbeContext, before: int, after: int) -> Positions:
    """Return the positions with that many tokens before and after them in the same text."""
    positions = np.arange(before, max(before, len(context.ids) - after))
    begins = continuous_starts(context)
    has_room = (positions - begins[positions] >= before) & (
        begins[positions + after] == begins[positions]
    )
    return positions[has_room]


def systematic_sample(items: Positions, count: int, rng: np.random.Generator) -> Positions:
    """Return `count` of the items at equal distances, the first one at random; all if fewer."""
    if len(items) <= count:
        return items
    return items[((np.arange(count) + rng.random()) * len(items) / count).astype(np.int64)]
