"""How far back a model looks: bits lost where only the last k characters are the text itself."""

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
from charlm.probes.base import ProbeContext, ProbeNotApplicable
from charlm.results.probes import Curve, ScalarResult
from charlm.seeding import derive_seed

CONTEXT_LENGTHS = tuple(
    sorted((*(2**n for n in range(13)), *(3 * 2**n for n in range(11))))
)  # 1 to 4,096
POSITIONS = 4096  # of the text that are scored; fewer for a larger k,
MAX_TOKENS_READ = 1 << 19  # so that no more characters than these are read for it
RELATIVE_TOLERANCE = 0.01  # of the bits with full context: Khandelwal et al. (2018)
BOOTSTRAP_BLOCKS, BOOTSTRAP_RESAMPLES = 64, 1000  # of the bootstrap
Bits = NDArray[np.float64]
Places = NDArray[np.int64]


def usable_context_lengths(
    ks: Sequence[int], reading: ProbeContext, before: int = 0
) -> tuple[list[int], list[str]]:
    """The ks that leave half of the text to be scored, and a note of those that do not.

    before: how many of its characters are never scored.
    """
    length, kind = len(reading.ids), reading.vocabulary.kind
    asked = [k for k in ks if 2 * k <= length - before]
    least = before + max(4 * BOOTSTRAP_BLOCKS, 2 * min(ks))
    if length < least:
        raise ProbeNotApplicable(f"the text has {length:,} {kind}, and {least:,} are needed")
    if len(asked) < len(ks):
        return asked, [f"a text of {length:,} {kind} is too short for more than {asked[-1]:,}"]
    return asked, []


def evenly_spaced(start: int, end: int, most: int) -> Places:
    """Places from start to before end, all or `most` of them, in equal steps."""
    return np.linspace(start, end - 1, min(most, end - start)).astype(np.int64)


def subsampling_stride(places: int, k: int, read_at_most: int) -> int:
    """Every which place is scored: a power of two, so that the places of a larger k are among those
    of a smaller one."""
    return 1 << max(0, math.ceil(math.log2(places * k / read_at_most)))


def gather_windows(ids: TokenIds, start: Places, length: int) -> Tensor:
    """Stretches of a text, (length, streams), each from its own start."""
    return torch.from_numpy(ids[start + np.arange(length)[:, None]].astype(np.int64))


def token_bits(logits: Tensor, targets: Tensor) -> Bits:
    """What each target cost: logits (..., symbols), targets (...) -> (...)."""
    return token_nll(logits, targets.to(logits.device)).cpu().numpy() / math.log(2)


def excess_bits(
    reading: ProbeContext,
    start: Places,
    before: Callable[[slice], tuple[State, ...]],
    ks: Sequence[int],
    read_at_most: int,
) -> Bits:
    """Bits lost against full context, k true characters after each start, (ks, starts), NaN where
    not scored; one reading serves all k. before: the state at these starts."""
    lost = np.full((len(ks), len(start)), np.nan)
    for batch in stream_batches(reading.model, len(start)):
        state, streams, done = before(batch), np.arange(len(start))[batch], 0
        for row, k in enumerate(ks):
            kept = np.flatnonzero(streams % subsampling_stride(len(start), k, read_at_most) == 0)
            if not len(kept):
                break
            state, streams = select_streams(state, torch.from_numpy(kept)), streams[kept]
            at = start[streams]
            state = advance(reading.model, gather_windows(reading.ids, at + done, k - done), state)
            reading.tick(len(at) * (k - done))
            done = k
            target = gather_windows(reading.ids, at + k, 1)[0]
            cost = token_bits(reading.model.next_token_logits(state), target)
            lost[row, streams] = cost - reading.bits[at + k]
    return lost


def mean_curve(ks: Sequence[int], lost: Bits, above: float = 0.0) -> Curve:
    """The mean over places for each k, with its standard error."""
    count = np.isfinite(lost).sum(1)
    error = np.nanstd(lost, axis=1, ddof=1) / np.sqrt(count)
    y = above + np.nanmean(lost, axis=1)
    return Curve(x=list(ks), y=y.tolist(), error=error.tolist(), count=count.tolist())


def effective_context_length(
    name: str, reading: ProbeContext, ks: Sequence[int], lost: Bits
) -> ScalarResult:
    """The smallest k that costs at most 1 % more than full context; lost: (ks, places), NaN where
    not scored, the places in the order of the text.

    Its interval holds 95 % of what it is when stretches of the text are drawn with replacement.
    """
    stretches = np.array_split(lost, BOOTSTRAP_BLOCKS, axis=1)
    sums = np.stack([np.nansum(stretch, axis=1) for stretch in stretches])
    counts = np.stack([np.isfinite(stretch).sum(1) for stretch in stretches])
    draw = np.random.default_rng(derive_seed(reading.seed, "bootstrap"))
    drawn = draw.multinomial(
        BOOTSTRAP_BLOCKS, [1 / BOOTSTRAP_BLOCKS] * BOOTSTRAP_BLOCKS, BOOTSTRAP_RESAMPLES
    )
    times = np.vstack((np.ones(BOOTSTRAP_BLOCKS), drawn))  # the first: each stretch once
    scored = times @ counts
    # A draw without a single place for some k cannot say that this k is enough.
    means = np.divide(times @ sums, scored, out=np.full(scored.shape, np.inf), where=scored > 0)
    within = means <= RELATIVE_TOLERANCE * reading.bits.mean()
    smallest = np.where(within.any(1), within.argmax(1), len(ks))
    low, high = np.quantile(smallest[1:], (0.025, 0.975), method="inverted_cdf")
    value, low, high = (float(ks[n]) if n < len(ks) else None for n in (smallest[0], low, high))
    beyond = f"more than {ks[-1]:,}"
    note = beyond if value is None else "" if high is not None else f"its interval: to {beyond}"
    unit = reading.vocabulary.kind
    return ScalarResult(name=name, value=value, unit=unit, low=low, high=high, note=note)
