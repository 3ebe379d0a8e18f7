"""Context shuffle: bits lost if words before the last k characters are in random order."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.data.vocabulary import TokenIds, vocabulary_mask
from charlm.evaluation.streaming import (
    TOKENS_PER_ADVANCE,
    advance,
    select_streams,
    stream_batches,
)
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.order_reach import order_reach
from charlm.probes.places import starts_with_room, systematic_sample
from charlm.probes.true_context import States
from charlm.probes.unit_sums import UnitSums, sum_by_unit
from charlm.probes.windows import Bits, Positions, gather_windows, token_bits
from charlm.results.probe_limits import (
    NoPlaces,
    Note,
    PlacesLeftOut,
    TextTooShort,
    TooFewWords,
)
from charlm.results.probes import ProbeResult, ScalarResult

CONTEXT_LENGTHS = tuple(1 << n for n in range(10))  # 1, 2, 4, ..., 512
SHUFFLED_LENGTH = 512  # tokens of the passage with shuffled words
NEAR_LENGTH = 128  # context lengths up to this one are scored from all places,
NUM_PLACES = 512
FAR_SHARE = 4  # and longer ones from every fourth
MIN_PLACES = 64
BOOTSTRAP_RESAMPLES = 1000


@register_probe("context-shuffle", cost=3)
@torch.inference_mode()
def context_shuffle(
    context: ProbeContext,
    context_lengths: Sequence[int] = CONTEXT_LENGTHS,
    num_places: int = NUM_PLACES,
) -> ProbeOutput:
    """How far back does the order of characters matter?

    Question: How many bits does a character cost more if only the last k characters are in their
    true order, and the words before them are in random order?

    Protocol: The places are the same for all models that read the text. They are spread evenly over
    it, each with 512 characters before it of the same file, where the text is cut by files. At each
    place the model has read all that precedes these 512 characters, reads their words in random
    order, and then the true text. A word ends after its white space; the first and the last word
    may be cut. Places with fewer than two words there are left out. The characters that follow k
    true ones are scored, from k / 1.41 to 1.41 k, and compared with their cost after the true text.
    Lengths above 128 are scored from every fourth place. The reach is the k from which on no more
    than 0.01 bits are lost, by the nearest monotone curve, interpolated on a logarithmic scale. Its
    95 % interval is a bootstrap with 1,000 resamples of the files, groups of lines or blocks of the
    text.

    Unit: Bits lost per character (or byte), by the number of characters in true order. Errors are
    standard errors over the same parts of the text.

    Chance: The line is 0: a model that does not use the order of words beyond the last k characters
    loses nothing there.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 5. The range in characters, the paired difference and the fixed
    tolerance are additions.
    """
    length, reading = len(context.ids), context.true_context
    last_near = max((k for k in context_lengths if k <= NEAR_LENGTH), default=context_lengths[0])
    near, far = (last_target(k) for k in (last_near, context_lengths[-1]))
    if length < (needed := SHUFFLED_LENGTH + near + MIN_PLACES):
        raise ProbeNotApplicableError(TextTooShort("probed", length, needed))
    start, notes = draw_places(context, near, num_places)
    goes_far = np.isin(start, starts_with_room(context, SHUFFLED_LENGTH, far))
    goes_far &= np.arange(len(start)) % FAR_SHARE == 0
    before = start - SHUFFLED_LENGTH
    tokens = len(start) * (SHUFFLED_LENGTH + near) + goes_far.sum() * (far - near)
    context.expect(reading.tokens_left + int(tokens + (before % reading.grid).sum()))
    shuffled = shuffled_passages(context, before)
    excess = np.full((far + 1, len(start)), np.nan)  # by number of true characters
    for batch in stream_batches(context.model, len(start)):
        states = reading.states_before(before[batch])
        states = advance(context.model, torch.from_numpy(shuffled[:, batch]), states)
        context.tick(shuffled[:, batch].size)
        streams = np.arange(len(start))[batch]
        excess[1 : near + 1, streams], states = following_bits(
            context, start[streams], near, states
        )
        rows = np.flatnonzero(goes_far[streams])
        if far > near and len(rows):
            states, streams = select_streams(states, torch.from_numpy(rows)), streams[rows]
            bits, _ = following_bits(context, start[streams] + near, far - near, states)
            excess[near + 1 :, streams] = bits
    for true_characters in range(1, far + 1):
        excess[true_characters] -= reading.bits[np.minimum(start + true_characters, length - 1)]
    sums = sum_scored(context, context_lengths, start, excess)
    if absent := tuple(int(k) for k in np.array(context_lengths)[sums.counts.sum(1) == 0]):
        notes.append(NoPlaces(absent))
    result = ProbeResult(
        x=f"{context.unit}s in true order",
        y=f"bits lost per {context.unit}",
        chance=0.0,
        curves=[sums.curve()],
        numbers=[reach_with_interval(context, sums)],
        notes=notes,
    )
    return ProbeOutput(result, sums.artifacts())


def last_target(k: int) -> int:
    """Return the largest number of true characters that counts as k of them."""
    return math.floor(k * math.sqrt(2))


def draw_places(context: ProbeContext, near: int, num_places: int) -> tuple[Positions, list[Note]]:
    """Draw the places, each after two words or more in the passage before it.

    Raises:
        ProbeNotApplicableError: There are too few.
    """
    with_room = starts_with_room(context, SHUFFLED_LENGTH, near)
    drawn = systematic_sample(with_room, num_places, context.random("shuffle"))
    is_space = vocabulary_mask(context.vocabulary, str.isspace)
    words_before = np.append(0, np.cumsum(word_starts(context.ids, is_space)))
    has_words = words_before[drawn] > words_before[drawn - SHUFFLED_LENGTH + 1]
    start = drawn[has_words]
    if len(start) < MIN_PLACES:
        raise ProbeNotApplicableError(TooFewWords(len(start), len(drawn), SHUFFLED_LENGTH))
    left_out = len(drawn) - len(start)
    notes: list[Note] = []
    if left_out:
        notes.append(PlacesLeftOut(left_out, len(drawn), SHUFFLED_LENGTH))
    return start, notes


def shuffled_passages(context: ProbeContext, before: Positions) -> NDArray[np.int64]:
    """Return the passages from these positions, each with its words in random order.

    Returns:
        Ids, (SHUFFLED_LENGTH, places), the same for all models.
    """
    is_space = vocabulary_mask(context.vocabulary, str.isspace)
    rng = context.random("word order")
    passages = (context.ids[position : position + SHUFFLED_LENGTH] for position in before)
    return np.stack([shuffle_words(passage, is_space, rng) for passage in passages], axis=1)


def following_bits(
    context: ProbeContext, start: Positions, count: int, states: States
) -> tuple[Bits, States]:
    """Return the bits of the tokens after the start, (count, streams), and the states before them.

    Each is scored after the true tokens from the start up to it.
    """
    text = gather_windows(context.ids, start, count + 1)
    bits = []
    window = max(1, TOKENS_PER_ADVANCE // len(start))
    for first in range(0, count, window):
        read = text[first : min(first + window, count)]
        logits, states = context.model(read.to(states[0][0].device), states)
        bits.append(token_bits(logits, text[first + 1 : first + 1 + len(read)]))
        context.tick(read.numel())
    return np.concatenate(bits), states


def sum_scored(
    context: ProbeContext, context_lengths: Sequence[int], start: Positions, excess: Bits
) -> UnitSums:
    """Return the lost bits by context length and unit.

    Args:
        context: Supplies the units.
        context_lengths: Values of k, ascending.
        start: Places, (places,).
        excess: Lost bits by number of true characters, (largest + 1, places); NaN: not scored.
    """
    targets, values = [], []
    for k in context_lengths:
        counted = np.arange(math.ceil(k / math.sqrt(2)), last_target(k) + 1)
        is_scored = np.isfinite(excess[counted])
        targets.append((start + counted[:, None])[is_scored])
        values.append(excess[counted][is_scored])
    return sum_by_unit(context, context_lengths, targets, values)


def reach_with_interval(context: ProbeContext, sums: UnitSums) -> ScalarResult:
    """Return how far back order matters, with a 95 % interval by a bootstrap over units."""
    units = sums.sums.shape[1]
    rng = np.random.default_rng(context.seed)
    resamples = rng.multinomial(units, np.full(units, 1 / units), BOOTSTRAP_RESAMPLES)
    # Row 0 is the text as it is.
    weights = np.vstack((np.ones(units), resamples)).astype(np.float64)
    reach = order_reach(sums.lengths, weights @ sums.sums.T, weights @ sums.counts.T)
    low, high = np.quantile(reach[1:], (0.025, 0.975), method="inverted_cdf")
    value, low, high = (float(r) if np.isfinite(r) else None for r in (reach[0], low, high))
    return ScalarResult(
        name="order matters up to",
        value=value,
        unit=f"{context.unit}s",
        low=low,
        high=high,
        lower_bound=float(sums.lengths[-1]) if value is None or high is None else None,
    )


def word_starts(text: TokenIds, is_space: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where a word begins after white space, (length,).

    Args:
        text: Token ids, (length,).
        is_space: Whether each id is white space, (vocabulary_size,).
    """
    space = is_space[text]
    return np.append(False, space[:-1] & ~space[1:])


def shuffle_words(
    text: TokenIds, is_space: NDArray[np.bool_], rng: np.random.Generator
) -> TokenIds:
    """Return the text with its words, each with its white space, in random order."""
    words = np.split(text.astype(np.int64), np.flatnonzero(word_starts(text, is_space)))
    return np.concatenate([words[index] for index in rng.permutation(len(words))])
