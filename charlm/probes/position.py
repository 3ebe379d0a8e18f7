"""Position: bits, size and saturation of the state by the characters since a fresh start."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from charlm.evaluation.streaming import iter_logits, stream_batches
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.places import continuous_starts, evenly_spaced_starts, starts_with_room
from charlm.probes.state_size import (
    Snapshot,
    growth,
    saturated_shares,
    snapshot_curves,
    state_sizes,
)
from charlm.probes.unit_sums import UnitSums, Z, profile_entry, sum_by_unit
from charlm.probes.windows import (
    Bits,
    Positions,
    entropy_bits,
    gather_windows,
    token_bits,
)
from charlm.results.probe_limits import TextTooShort
from charlm.results.probes import ProbeResult, ScalarResult

MAX_WINDOWS = 64  # windows of training that a long stream reads
MIN_WINDOWS = 4  # fewer say nothing about what is beyond the window
LONG_TOKENS = 1 << 17  # of all long streams together
NUM_STREAMS = (4, 16)  # of the long streams, at least and at most
PIECE = 256  # tokens whose logits are in memory at once
TOLERANCE = 0.01  # rise of the bits, as a share, that counts as a failure beyond the window


class Scores(NamedTuple):
    """Costs of tokens, one entry each, by the position in the stream that read them."""

    target: Positions  # index of the token in the text
    position: Positions  # tokens that the stream has read before it
    bits: Bits


@register_probe("position", cost=3)
@torch.inference_mode()
def position(context: ProbeContext, max_windows: int = MAX_WINDOWS) -> ProbeOutput:
    """Does the model survive beyond the window that it was trained with?

    Question: How do the bits of a character, the size of the state and its saturation change with
    the number of characters since a fresh start, up to 64 windows of training?

    Protocol: A window is the number of characters that training sends gradients through. Fresh
    streams begin with the initial state at every window of the text, and read two windows each. So
    each character is read one to two windows after a start: its cost there is the control. Up to 16
    long streams begin with the initial state at evenly spaced places, and read 64 windows, or half
    of a shorter text. The cost of each character at each position is compared with the control of
    the same character, so that it does not count that some passages are harder. Positions from d to
    2d share a point, at their end. In mid-text, the same characters are read with a state carried
    over at least 2,048 characters, or all that there are. The size of a state is its root mean
    square over streams and units; “x 1 back” is the input of the character before, which a short
    convolution before the cell still holds. A unit is saturated if its output is beyond 0.9 in
    size, or its gate below 0.1 or above 0.9. A model fails after the first position beyond a window
    from which on the bits at all points are 1 % higher, with an interval above 0; points of a
    single file, group or block have no interval, and are left out.

    Unit: Bits per character (or byte) more than one to two windows after a start, by position.
    Errors are standard errors over the files, groups of lines or blocks of the text.

    Chance: The line is 0: no change since the first windows. Above it in the first window is what a
    fresh start costs; above it at the end is a model that does not survive; below it is one that
    uses characters further back than two windows.

    Source: Chen et al. (2024), "Stuffed Mamba: State Collapse and State Capacity of RNN-Based
    Long-Context Modeling", who show states that fail beyond the training length. Gates count as
    saturated as in Karpathy, Johnson & Fei-Fei (2015). The paired control is an addition.
    """
    length, window = len(context.ids), context.window
    if length < 2 * MIN_WINDOWS * window:
        raise ProbeNotApplicableError(TextTooShort("probed", length, 2 * MIN_WINDOWS * window))
    longest = longest_stream(context, max_windows)
    windows = longest // window
    least, most = NUM_STREAMS
    num_streams = min(most, max(least, LONG_TOKENS // longest))
    long_starts = evenly_spaced_starts(context, 0, length - longest, num_streams, 0, longest)
    starts = np.arange(length // window - 1) * window
    if context.starts is not None:
        starts = np.intersect1d(starts, starts_with_room(context, 0, 2 * window - 1))
    carried = context.true_context
    context.expect(carried.tokens_left + 2 * window * len(starts) + longest * len(long_starts))
    restarts = read_restarts(context, starts)
    control = np.full(length, np.nan)
    is_control = restarts.position >= window
    control[restarts.target[is_control]] = restarts.bits[is_control]
    long, snapshots = read_long_streams(context, long_starts, longest)
    is_beyond = long.position >= 2 * window
    scores = Scores(
        *(
            np.concatenate((first, then[is_beyond]))
            for first, then in zip(restarts, long, strict=True)
        )
    )
    edges = position_edges(window, longest)
    sums = sum_by_position(context, scores, control, edges)
    raw = sum_by_position(context, scores, np.zeros(length), edges)
    in_text = np.flatnonzero(~np.isnan(control))
    mid_text = sum_by_position(
        context, Scores(in_text, 0 * in_text, carried.bits[in_text]), control, [0, 1]
    )
    unit = f"bits per {context.unit}"
    x = f"{context.unit}s since the start"
    panels = [
        ProbeResult(title="bits", x=x, y=unit, curves=[raw.curve()]),
        ProbeResult(
            title="size of the state",
            x=x,
            y="root mean square",
            log_y=True,
            curves=snapshot_curves(snapshots, "size"),
        ),
    ]
    if context.char_lm is not None:
        panels.append(
            ProbeResult(
                title="saturation",
                x=x,
                y="share of units",
                curves=snapshot_curves(snapshots, "saturation"),
            )
        )
    first_window = sum_by_position(context, scores, control, [0, window])
    result = ProbeResult(
        x=x,
        y=f"more {unit} than in the second window",
        chance=0.0,
        curves=[sums.curve()],
        panels=panels,
        numbers=[
            sums.number(len(edges) - 2, f"lost after {windows // 2} to {windows} windows", unit),
            first_window.number(0, "lost in the first window", unit),
            mid_text.number(0, "lost in mid-text", unit),
            breakdown(sums, raw, window, f"{context.unit}s"),
            *growth(snapshots, window),
        ],
        profile=profile_entry(
            sums,
            longest,
            "survives",
            unit,
            chance=entropy_bits(context.ids) - float(np.nanmean(control)),
            ceiling=0.0,
        ),
    )
    return ProbeOutput(result, sums.artifacts())


def longest_stream(context: ProbeContext, max_windows: int) -> int:
    """Return the tokens of a long stream: windows by a power of two, at most half of the text.

    If the model's state is reset at documents, the longest one has twice as many.

    Raises:
        ProbeNotApplicableError: They are fewer than MIN_WINDOWS windows.
    """
    length, window = len(context.ids), context.window
    if context.starts is not None:
        begins = continuous_starts(context)
        length = int(np.bincount(begins[:-1]).max())
    windows = min(max_windows, 1 << max(0, (length // 2 // window).bit_length() - 1))
    if windows < MIN_WINDOWS:
        raise ProbeNotApplicableError(TextTooShort("document", length, 2 * MIN_WINDOWS * window))
    return windows * window


def position_edges(window: int, longest: int) -> list[int]:
    """Return the edges of the bins of positions: powers of two, then window times powers of two."""
    within = [1 << n for n in range((window - 1).bit_length())]
    beyond = [window << n for n in range((longest // window).bit_length())]
    return [0, *within, *beyond]


def read_restarts(context: ProbeContext, starts: Positions) -> Scores:
    """Score two windows from each start, with the initial state."""
    model, window = context.model, context.window
    position = np.arange(2 * window)[:, None]
    parts = []
    for batch in stream_batches(model, len(starts)):
        text = gather_windows(context.ids, starts[batch], 2 * window)
        state = model.initial_state(text.shape[1])
        pieces = iter_logits(model, text.split(PIECE), state)
        bits = [token_bits(logits, ids) for ids, logits in pieces]
        target = starts[batch] + position
        at = np.broadcast_to(position, target.shape)
        parts.append(Scores(target.ravel(), at.ravel(), np.concatenate(bits).ravel()))
        context.tick(text.numel())
    return Scores(*map(np.concatenate, zip(*parts, strict=True)))


def read_long_streams(
    context: ProbeContext, starts: Positions, longest: int
) -> tuple[Scores, list[Snapshot]]:
    """Score so many tokens from each start, and take the states at the edges of the bins."""
    model = context.model
    edges = position_edges(context.window, longest)
    state = model.initial_state(len(starts))
    logits = model.next_token_logits(state)[None]
    bits, snapshots = [], []
    for begin, end in pairwise(edges):
        for start in range(begin, end, PIECE):
            text = gather_windows(context.ids, starts + start, min(PIECE, end - start))
            ids = text.to(logits.device)
            following, state = model(ids, state)
            bits.append(token_bits(torch.cat((logits, following[:-1])), ids))
            logits = following[-1:]
            context.tick(ids.numel())
        following_token = gather_windows(context.ids, starts + end, 1).to(logits.device)
        whole = context.char_lm
        shares = saturated_shares(whole, following_token, state) if whole else {}
        snapshots.append(Snapshot(end, state_sizes(whole, state), shares))
    position = np.arange(longest)[:, None]
    target = starts + position
    at = np.broadcast_to(position, target.shape)
    return Scores(target.ravel(), at.ravel(), np.concatenate(bits).ravel()), snapshots


def sum_by_position(
    context: ProbeContext, scores: Scores, control: Bits, edges: Sequence[int]
) -> UnitSums:
    """Return sums of the costs, less the control, by bin of positions and unit of the text.

    Args:
        context: Supplies the units.
        scores: Costs of tokens.
        control: Cost to compare with, of each token of the text; NaN: the token is left out.
        edges: Edges of the bins; a bin has the name of its end.
    """
    more = scores.bits - control[scores.target]
    bins = np.digitize(scores.position, edges) - 1
    is_counted = ~np.isnan(more) & (bins < len(edges) - 1)
    rows = [np.flatnonzero(is_counted & (bins == n)) for n in range(len(edges) - 1)]
    targets = [scores.target[row] for row in rows]
    return sum_by_unit(context, edges[1:], targets, [more[row] for row in rows])


def breakdown(more: UnitSums, bits: UnitSums, window: int, unit: str) -> ScalarResult:
    """Return the first position beyond the window from which on the bits have risen by TOLERANCE.

    The rise counts where its 95 % interval is above 0. A bin without an interval says nothing, and
    is left out. A model that recovers has not failed.
    """
    is_judged = np.isfinite(more.error)
    fails = more.mean > TOLERANCE * (bits.mean - more.mean)
    fails &= more.mean - Z * more.error > 0
    fails_from_here = fails & np.logical_and.accumulate((fails | ~is_judged)[::-1])[::-1]
    failed = [
        start
        for start, has_failed in zip(more.lengths, fails_from_here[1:], strict=False)
        if has_failed and start >= window
    ]
    judged = np.asarray(more.lengths)[is_judged]
    return ScalarResult(
        name="fails after",
        value=float(failed[0]) if failed else None,
        unit=unit,
        lower_bound=None if failed or not len(judged) else float(judged[-1]),
    )
