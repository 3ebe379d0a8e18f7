"""Context replacement: bits lost if the text before the last k characters is another text."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.evaluation.streaming import advance, select_streams, stream_batches
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.places import starts_with_room, systematic_sample
from charlm.probes.true_context import GRID
from charlm.probes.unit_sums import profile_entry, sum_by_unit
from charlm.probes.windows import Positions, entropy_bits, gather_windows, token_bits
from charlm.results.probe_limits import NoPlaces, TextTooShort, TooFewPlaces
from charlm.results.probes import ProbeResult

CONTEXT_LENGTHS = (16, 64, 256, 1024)
NUM_PLACES = (8192, 8192, 1024, 256)  # a longer context is scored at fewer places
MIN_PLACES = 128
MIN_PAST = 256  # true tokens of the same file before those k, so that there is something to lose
NUMBER = 64  # the context length whose value is the number
MIN_LENGTH = 2048  # tokens of the text
# Where documents start afresh: tokens between a place and that of its other text, at least; and
# such other places that there must be.
MIN_DISTANCE = 512
MIN_OTHERS = 8


@register_probe("context-replacement", cost=4)
@torch.inference_mode()
def context_replacement(
    context: ProbeContext,
    context_lengths: Sequence[int] = CONTEXT_LENGTHS,
    num_places: Sequence[int] = NUM_PLACES,
) -> ProbeOutput:
    """What does the model lose if everything further back is another text?

    Question: How many bits does a character cost more if only the last k characters are the true
    ones, and another text precedes them?

    Protocol: The places are the same for all models that read the text. They are spread evenly over
    it, 8,192 for k = 16 and 64, 1,024 for 256 and 256 for 1,024. Before each place stands a true
    text of k characters, and 256 more; both are of the same file where the text is cut by files. In
    the changed text, everything before those k characters comes from a place that is about a
    quarter of the text away, or more. Where the state is reset at documents, it is one of all
    places with 256 characters of their document before them, a quarter of these places away and at
    least 512 characters. The cost of the character there is compared with its cost after at least
    2,048 characters as they stand in the text (all, near its beginning), which can reach back into
    the files before. Both states come from reading real text, unlike an initial state.

    Unit: Bits lost per character (or byte), by the number of true characters. Errors are standard
    errors over the files, groups of lines or blocks of the text.

    Chance: The line is 0: a model that remembers nothing beyond the last k characters loses nothing
    there.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 5, who drop or shuffle the distant context. Replacing it by another
    text and the paired difference are additions.
    """
    length, reading = len(context.ids), context.true_context
    if length < MIN_LENGTH:
        raise ProbeNotApplicableError(TextTooShort("probed", length, MIN_LENGTH))
    start, is_scored = draw_places(context, context_lengths, num_places)
    tokens = np.diff([0, *context_lengths]) @ is_scored.sum(1)
    foreign = foreign_positions(context, start)
    context.expect(reading.tokens_left + int(tokens) + int((foreign % reading.grid).sum()))
    excess = np.full(is_scored.shape, np.nan)
    for batch in stream_batches(context.model, len(start)):
        state, streams = reading.states_before(foreign[batch]), np.arange(len(start))[batch]
        tokens_read = 0
        for row, k in enumerate(context_lengths):
            rows = np.flatnonzero(is_scored[row, streams])
            if not len(rows):
                break
            state, streams = select_streams(state, torch.from_numpy(rows)), streams[rows]
            window = gather_windows(context.ids, start[streams] + tokens_read, k - tokens_read)
            state = advance(context.model, window, state)
            context.tick(window.numel())
            tokens_read = k
            target = start[streams] + k
            text = torch.from_numpy(context.ids[target].astype(np.int64))
            bits = token_bits(context.model.next_token_logits(state), text)
            excess[row, streams] = bits - reading.bits[target]
    targets = [start[scored] + k for k, scored in zip(context_lengths, is_scored, strict=True)]
    values = [row[scored] for row, scored in zip(excess, is_scored, strict=True)]
    sums = sum_by_unit(context, context_lengths, targets, values)
    absent = tuple(
        k for k, scored in zip(context_lengths, is_scored, strict=True) if not scored.any()
    )
    result = ProbeResult(
        x=f"true {context.unit}s read",
        y=f"bits lost per {context.unit}",
        chance=0.0,
        curves=[sums.curve()],
        numbers=[
            sums.number(row, f"lost beyond {k:,}", f"bits per {context.unit}")
            for row, k in enumerate(context_lengths)
            if k not in absent
        ],
        profile=profile_entry(
            sums,
            NUMBER,
            "uses",
            f"bits per {context.unit}",
            ceiling=entropy_bits(context.ids) - float(reading.bits.mean()),
        ),
        notes=[NoPlaces(absent)] if absent else [],
    )
    return ProbeOutput(result, sums.artifacts())


def draw_places(
    context: ProbeContext, context_lengths: Sequence[int], num_places: Sequence[int]
) -> tuple[Positions, NDArray[np.bool_]]:
    """Draw the starts of the true context, spread evenly over the text.

    Returns:
        The starts, (places,), ascending; and whether a length is scored from a start, (K, places):
        only from starts that all shorter lengths are scored from.

    Raises:
        ProbeNotApplicableError: There are too few.
    """
    rng = context.random("places")
    start: Positions | None = None
    is_scored = []
    for k, count in zip(context_lengths, num_places, strict=True):
        # The lengths up to the number's share their places.
        with_room = starts_with_room(context, MIN_PAST, max(k, min(NUMBER, context_lengths[-1])))
        if start is None:
            if context.starts is not None:
                _, _, num_others = other_places(context, with_room)
                with_room = with_room[num_others >= MIN_OTHERS]
            start = systematic_sample(with_room, count, rng)
            is_scored.append(np.full(len(start), True))
            continue
        allowed = np.flatnonzero(is_scored[-1] & np.isin(start, with_room))
        is_scored.append(np.isin(np.arange(len(start)), systematic_sample(allowed, count, rng)))
    if start is None or len(start) < MIN_PLACES:
        places = 0 if start is None else len(start)
        raise ProbeNotApplicableError(TooFewPlaces(places, MIN_PLACES))
    return start, np.stack(is_scored)


def foreign_positions(context: ProbeContext, start: Positions) -> Positions:
    """Return for each start a place before which the other text stands, far away from it.

    It is between a quarter and three quarters of the text further on, counted on from the beginning
    after the end, and rounded down to a multiple of GRID, at which states are kept. If the state is
    reset at documents, these are shares of the start's other places instead of the text.
    """
    length = len(context.ids)
    shift = context.random("foreign").uniform(0.25, 0.75, len(start))
    if context.starts is not None:
        places, following, num_others = other_places(context, start)
        return places[(following + (shift * num_others).astype(np.int64)) % len(places)]
    # The first MIN_PAST tokens have too little text before them.
    position = start - MIN_PAST + shift * length
    return (MIN_PAST + position.astype(np.int64) % (length - MIN_PAST)) // GRID * GRID


def other_places(context: ProbeContext, start: Positions) -> tuple[Positions, Positions, Positions]:
    """Find the places before which another text can stand, if the state is reset at documents.

    Returns:
        All multiples of GRID with MIN_PAST tokens of their document before them, ascending; for
        each start, the index of the first one that is MIN_DISTANCE or more behind it; and the
        number of those that are so far from it, before or behind: they follow each other from that
        index on, and on from the first after the last.
    """
    places = starts_with_room(context, MIN_PAST, 0)
    places = places[places % GRID == 0]
    num_before = np.searchsorted(places, start - MIN_DISTANCE, side="right")
    following = np.searchsorted(places, start + MIN_DISTANCE)
    return places, following, num_before + len(places) - following
