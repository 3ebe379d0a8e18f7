"""Repeated words: bits saved on a rare word because it was read before."""

from collections.abc import Sequence

import numpy as np
import torch

from charlm.evaluation.streaming import select_streams, stream_batches
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.rare_words import (
    COUNTED_TOKENS,
    FARTHEST,
    NEAREST,
    RepeatedWords,
    find_repeated_words,
)
from charlm.probes.true_context import States
from charlm.probes.unit_sums import profile_entry, sum_by_unit
from charlm.probes.windows import Bits, gather_windows, token_bits
from charlm.results.probe_limits import (
    CountedAtEnd,
    NoRepeatedWords,
    Note,
    TextTooShort,
)
from charlm.results.probes import Curve, ProbeResult

MIN_EVENTS = 30
MIN_LENGTH = 2048  # tokens of the text
BIN_EDGES = (NEAREST, 128, 256, 512, FARTHEST + 1)  # of the distance, in tokens


@register_probe("repeated-words", cost=2)
@torch.inference_mode()
def repeated_words(context: ProbeContext, min_events: int = MIN_EVENTS) -> ProbeOutput:
    """Does the model know a word again that it has read once?

    Question: How many bits does a rare word cost less because it was read 64 to 1,024 characters
    before?

    Protocol: A word is a run of at least four letters. A rare one has at most 10 occurrences per
    million characters in the training text (the last 2^22 characters of a long one). The events are
    rare words that come again 64 to 1,024 characters after their only earlier occurrence within
    that reach, in the same file where the text is cut by files. At each, the letters of the second
    occurrence are scored twice: after the true text, and after a text in which another rare word of
    as many letters stands in the place of the first one. All else is equal, distances included. So
    the difference is what the first occurrence causes. Events and other words are the same for all
    models that read the text.

    Unit: Bits per word. The interval is over the files, groups of lines or blocks of the text;
    errors of the curve are standard errors over words.

    Chance: The line is 0: a model that does not remember the word saves nothing.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 6, who drop or replace words that come again. Rare words,
    characters and the measure are additions.
    """
    length, reading = len(context.ids), context.true_context
    if length < MIN_LENGTH:
        raise ProbeNotApplicableError(TextTooShort("probed", length, MIN_LENGTH))
    words = find_repeated_words(context)
    if len(words.first) < min_events:
        raise ProbeNotApplicableError(
            NoRepeatedWords(len(words.first), min_events, NEAREST, FARTHEST)
        )
    distance = words.second - words.first - words.size
    tokens = words.first % reading.grid + 2 * words.size + distance
    context.expect(reading.tokens_left + int(tokens.sum()))
    states = reading.states_before(words.first)
    states = reading.read_on(words.other, words.size, states, resets=False)
    states = reading.read_on(words.first + words.size, distance, states)
    changed, saved = word_bits(context, words, states)
    sums = sum_by_unit(context, [NEAREST], [words.second], [saved])
    cost = sum_by_unit(context, [NEAREST], [words.second], [changed])
    notes: list[Note] = []
    if len(context.train_ids) > COUNTED_TOKENS:
        notes.append(CountedAtEnd("words", COUNTED_TOKENS))
    result = ProbeResult(
        x=f"{context.unit}s since the word was read",
        y="bits saved per word",
        chance=0.0,
        curves=[curve_by_distance(distance, saved)],
        numbers=[
            sums.number(0, "saved by having read the word", "bits per word"),
            cost.number(0, "cost of the word otherwise", "bits per word"),
        ],
        profile=profile_entry(
            sums, NEAREST, "looks up", "bits per word", ceiling=float(cost.mean[0])
        ),
        notes=notes,
    )
    return ProbeOutput(result, sums.artifacts())


def word_bits(context: ProbeContext, words: RepeatedWords, states: States) -> tuple[Bits, Bits]:
    """Return the bits of the letters of each second occurrence, read on from these states.

    Returns:
        The bits, and how many more they are than after the true text; both (events,).
    """
    model, true_bits = context.model, context.true_context.bits
    bits, more = np.zeros(len(words.size)), np.zeros(len(words.size))
    for size in np.unique(words.size):
        events = np.flatnonzero(words.size == size)
        for batch in stream_batches(model, len(events)):
            rows = events[batch]
            state = select_streams(states, torch.from_numpy(rows).to(states[0][0].device))
            logits = model.next_token_logits(state)[None]
            letters = gather_windows(context.ids, words.second[rows], size).to(logits.device)
            following, _ = model(letters, state)
            by_letter = token_bits(torch.cat((logits, following[:-1])), letters)
            bits[rows] = by_letter.sum(0)
            more[rows] = (by_letter - true_bits[words.second[rows] + np.arange(size)[:, None]]).sum(
                0
            )
            context.tick(letters.numel())
    return bits, more


def curve_by_distance(distance: np.ndarray, saved: Bits, edges: Sequence[int] = BIN_EDGES) -> Curve:
    """Return the mean saving of each bin of distances that has at least two words."""
    which = np.digitize(distance, edges)
    bins = [rows for n in range(1, len(edges)) if len(rows := np.flatnonzero(which == n)) > 1]
    return Curve(
        x=[float(2 ** np.log2(distance[rows]).mean()) for rows in bins],
        y=[float(saved[rows].mean()) for rows in bins],
        error=[float(saved[rows].std(ddof=1) / len(rows) ** 0.5) for rows in bins],
        count=[len(rows) for rows in bins],
    )
