"""Places of a text that a probe measures, the same for all models."""

import numpy as np

from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.probes.windows import Positions, evenly_spaced
from charlm.results.probe_limits import TooFewPlaces


def unit_of(context: ProbeContext, positions: Positions) -> Positions:
    """Return the index of the text's unit that each position is in."""
    return np.searchsorted(context.unit_edges, positions, side="right") - 1


def continuous_starts(context: ProbeContext) -> Positions:
    """Return for each token where the text that it belongs to begins, (length + 1,).

    That is the beginning of its file, where the text is cut by files, or of its document, where the
    state of the model is reset. The last entry is of the end.
    """
    positions = np.arange(len(context.ids) + 1)
    begins = np.zeros_like(positions)
    last_token = max(0, len(context.ids) - 1)
    if context.unit_kind == "file":
        begins = context.unit_edges[unit_of(context, np.minimum(positions, last_token))]
    if context.starts is None or not len(context.ids):
        return begins
    documents = np.maximum.accumulate(np.where(context.starts, positions[:-1], 0))
    return np.maximum(begins, np.append(documents, documents[-1]))


def starts_with_room(context: ProbeContext, before: int, after: int) -> Positions:
    """Return the positions with that many tokens before and after them in the same text."""
    positions = np.arange(before, max(before, len(context.ids) - after))
    begins = continuous_starts(context)
    has_room = (positions - begins[positions] >= before) & (
        begins[positions + after] == begins[positions]
    )
    return positions[has_room]


def evenly_spaced_starts(
    context: ProbeContext, first: int, end: int, count: int, before: int, after: int
) -> Positions:
    """Return up to `count` positions in [first, end), evenly spaced.

    If the model's state is reset at documents, they have room before and after in their document.

    Raises:
        ProbeNotApplicableError: There are fewer than half as many in documents.
    """
    if context.starts is None:
        return evenly_spaced(first, end, count)
    with_room = starts_with_room(context, before, after)
    with_room = with_room[(with_room >= first) & (with_room < end)]
    needed = -(-min(count, end - first) // 2)
    if len(with_room) < needed:
        raise ProbeNotApplicableError(TooFewPlaces(len(with_room), needed))
    return with_room[evenly_spaced(0, len(with_room), count)]


def systematic_sample(items: Positions, count: int, rng: np.random.Generator) -> Positions:
    """Return `count` of the items at equal distances, the first one at random; all if fewer."""
    if len(items) <= count:
        return items
    return items[((np.arange(count) + rng.random()) * len(items) / count).astype(np.int64)]
