"""Effective context length: the number of true tokens that a model needs.

The context probes (truncation, replacement, shuffle) share it.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.cells.base import State
from charlm.data.vocabulary import TokenIds
from charlm.evaluation.scoring import token_nll
from charlm.evaluation.streaming import advance, select_streams, stream_batches
from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.results.probes import Curve, ScalarResult
from charlm.seeding import derive_seed

# 1, 2, 3, 4, 6, 8, 12, ..., 4096
CONTEXT_LENGTHS = tuple(sorted((*(2**n for n in range(13)), *(3 * 2**n for n in range(11)))))
NUM_POSITIONS = 4096  # scored positions of the text
MAX_TOKENS_READ = 1 << 19  # per context length; a longer context is scored at fewer positions
RELATIVE_TOLERANCE = 0.01  # of the bits with full context: Khandelwal et al. (2018)
BOOTSTRAP_BLOCKS = 64  # contiguous blocks of the text
BOOTSTRAP_RESAMPLES = 1000
Bits = NDArray[np.float64]
Positions = NDArray[np.int64]


def usable_context_lengths(
    context_lengths: Sequence[int], context: ProbeContext, unscored: int = 0
) -> tuple[list[int], list[str]]:
    """Return the context lengths that leave half of the text to be scored.

    Args:
        context_lengths: Requested lengths in tokens, ascending.
        context: Supplies the text.
        unscored: Tokens at the beginning of the text that are never scored.

    Returns:
        The usable lengths, and a note for the figure if some were dropped.

    Raises:
        ProbeNotApplicableError: The text is too short.
    """
    length = len(context.ids)
    required = unscored + max(4 * BOOTSTRAP_BLOCKS, 2 * min(context_lengths))
    if length < required:
        raise ProbeNotApplicableError(
            f"the text has {length:,} {context.unit}s, but {required:,} are needed"
        )
    usable = [k for k in context_lengths if 2 * k <= length - unscored]
    if len(usable) < len(context_lengths):
        return usable, [
            f"context up to {usable[-1]:,} only: the text has {length:,} {context.unit}s"
        ]
    return usable, []


def evenly_spaced(start: int, end: int, count: int) -> Positions:
    """Return up to `count` positions in [start, end), evenly spaced, both ends included."""
    return np.linspace(start, end - 1, min(count, end - start)).astype(np.int64)


def subsampling_stride(positions: int, context_length: int, max_tokens_read: int) -> int:
    """Return the stride at which positions are scored, so that the cost stays bounded.

    It is a power of two: the positions of a longer context are a subset of those of a shorter one.
    """
    return 1 << max(0, math.ceil(math.log2(positions * context_length / max_tokens_read)))


def gather_windows(ids: TokenIds, start: Positions, length: int) -> Tensor:
    """Return the text of this length from each start, (length, len(start)), int64."""
    return torch.from_numpy(ids[start + np.arange(length)[:, None]].astype(np.int64))


def token_bits(logits: Tensor, targets: Tensor) -> Bits:
    """Return the bits of each target (...) under logits (..., vocabulary_size)."""
    return token_nll(logits, targets.to(logits.device)).cpu().numpy() / math.log(2)


def excess_bits(
    context: ProbeContext,
    start: Positions,
    initial_states: Callable[[slice], tuple[State, ...]],
    context_lengths: Sequence[int],
    max_tokens_read: int,
) -> Bits:
    """Return the excess bits of the token that follows k true tokens, for each k.

    From each start the model reads on once, and a different token is scored for each k.

    Args:
        context: Supplies the model and the text.
        start: First true token of each stream, (streams,).
        initial_states: Returns the model's states before these starts.
        context_lengths: Values of k in tokens, ascending.
        max_tokens_read: Bound on the tokens read for each k.

    Returns:
        Bits minus the bits of the same token with full context, (len(context_lengths), streams);
        NaN where it was not scored.
    """
    excess = np.full((len(context_lengths), len(start)), np.nan)
    for batch in stream_batches(context.model, len(start)):
        state = initial_states(batch)
        streams = np.arange(len(start))[batch]
        tokens_read = 0
        for row, k in enumerate(context_lengths):
            stride = subsampling_stride(len(start), k, max_tokens_read)
            scored = np.flatnonzero(streams % stride == 0)
            if not len(scored):
                break
            state, streams = select_streams(state, torch.from_numpy(scored)), streams[scored]
            position = start[streams]
            window = gather_windows(context.ids, position + tokens_read, k - tokens_read)
            state = advance(context.model, window, state)
            context.tick(window.numel())
            tokens_read = k
            target = gather_windows(context.ids, position + k, 1)[0]
            bits = token_bits(context.model.next_token_logits(state), target)
            excess[row, streams] = bits - context.bits[position + k]
    return excess


def mean_curve(context_lengths: Sequence[int], excess: Bits, offset: float = 0.0) -> Curve:
    """Return the mean of excess (len(context_lengths), positions) plus an offset.

    Its error is the standard error over positions; NaN is left out.
    """
    count = np.isfinite(excess).sum(1)
    error = np.nanstd(excess, axis=1, ddof=1) / np.sqrt(count)
    y = offset + np.nanmean(excess, axis=1)
    return Curve(x=list(context_lengths), y=y.tolist(), error=error.tolist(), count=count.tolist())


def effective_context_length(
    name: str, context: ProbeContext, context_lengths: Sequence[int], excess: Bits
) -> ScalarResult:
    """Return the smallest k with a mean excess of at most 1 % of the bits with full context.

    The interval is that of a block bootstrap over the text.

    Args:
        name: Name of the result.
        context: Supplies the bits with full context, and the seed.
        context_lengths: Values of k in tokens, ascending.
        excess: Excess bits, (len(context_lengths), positions), positions in order of the text; NaN
            where it was not scored.

    Returns:
        The length in tokens, with a 95 % interval. None means beyond the largest
        k, which is then `lower_bound`.
    """
    blocks = np.array_split(excess, BOOTSTRAP_BLOCKS, axis=1)
    sums = np.stack([np.nansum(block, axis=1) for block in blocks])
    counts = np.stack([np.isfinite(block).sum(1) for block in blocks])
    rng = np.random.default_rng(derive_seed(context.seed, "bootstrap"))
    probabilities = [1 / BOOTSTRAP_BLOCKS] * BOOTSTRAP_BLOCKS
    resamples = rng.multinomial(BOOTSTRAP_BLOCKS, probabilities, BOOTSTRAP_RESAMPLES)
    weights = np.vstack((np.ones(BOOTSTRAP_BLOCKS), resamples))  # row 0: the text as it is
    num_scored = weights @ counts
    # A resample without any scored position for some k cannot show that this k is enough.
    means = np.divide(
        weights @ sums, num_scored, out=np.full(num_scored.shape, np.inf), where=num_scored > 0
    )
    is_enough = means <= RELATIVE_TOLERANCE * context.bits.mean()
    smallest = np.where(is_enough.any(1), is_enough.argmax(1), len(context_lengths))
    bounds = np.quantile(smallest[1:], (0.025, 0.975), method="inverted_cdf")
    value, low, high = (
        float(context_lengths[row]) if row < len(context_lengths) else None
        for row in (smallest[0], *bounds)
    )
    return ScalarResult(
        name=name,
        value=value,
        unit=f"{context.unit}s",
        low=low,
        high=high,
        lower_bound=float(context_lengths[-1]) if value is None or high is None else None,
    )
