"""Bits lost where the words further back than k are in disorder: Khandelwal et al. (2018)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.cells.base import State
from charlm.data.vocabulary import TokenIds, vocabulary_mask
from charlm.evaluation.streaming import advance
from charlm.probes.base import ProbeContext, ProbeNotApplicable, register_probe
from charlm.probes.effective_context import (
    CONTEXT_LENGTHS,
    MAX_TOKENS_READ,
    Places,
    effective_context_length,
    evenly_spaced,
    excess_bits,
    mean_curve,
    usable_context_lengths,
)
from charlm.results.probes import ProbeResult
from charlm.seeding import derive_seed

SHUFFLED_LENGTH = 512  # characters in disorder
PLACES = 2048
LEAST = 200  # places that a mean must be of


@register_probe("shuffle")
@torch.inference_mode()
def context_shuffle(
    reading: ProbeContext,
    ks: Sequence[int] = CONTEXT_LENGTHS,
    places: int = PLACES,
    read_at_most: int = MAX_TOKENS_READ,
) -> ProbeResult:
    """Of what stands further back, does the model know the order, or only which words there were?

    Question: How many bits does it cost when only the last k characters are in their true order,
    and the words before them in a random one?

    Protocol: Starts are taken evenly from the text, but for its first 512 characters and its end,
    as long as the largest k; fewer for a large k. At each the model comes from one reading of all
    that is further back than 512 characters, reads the words of these 512 in random order (a word
    ends after its white space; the first and the last may be cut), and reads on in the true text.
    Starts without two words there are left out. The character after k true ones is scored, another
    one for each k, and compared with itself with full context. The number is the smallest k asked
    that costs at most 1 % more than full context; its interval holds 95 % of 1,000 draws of 64
    stretches of text.

    Unit: Bits lost per character (or byte), by the number of characters in true order. Error bars
    are standard errors.

    Chance: 0, the line: a model that does not use the order of what is further back than k loses
    nothing there.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 5; the horizon in characters and the paired difference are ours.
    """
    kind, ids = reading.vocabulary.kind, reading.ids
    ks, notes = usable_context_lengths(ks, reading, before=SHUFFLED_LENGTH)
    blank = vocabulary_mask(reading.vocabulary, str.isspace)
    draw = np.random.default_rng(derive_seed(reading.seed, "shuffle"))
    every = evenly_spaced(SHUFFLED_LENGTH, len(ids) - ks[-1], places)
    begun = np.append(0, np.cumsum(word_starts(ids, blank)))  # words, before each place
    start = every[begun[every] > begun[every - SHUFFLED_LENGTH + 1]]
    if len(start) < min(LEAST, len(every)):
        raise ProbeNotApplicable(
            f"before {len(start):,} of {len(every):,} places there are two words in {SHUFFLED_LENGTH} "
            f"{kind}, and {min(LEAST, len(every)):,} are needed"
        )
    if len(start) < len(every):
        notes.append(
            f"{len(every) - len(start):,} of {len(every):,} places are left out: the {SHUFFLED_LENGTH} "
            f"{kind} before have not two words"
        )
    carried = SequentialState(reading)

    def before(batch: slice) -> tuple[State, ...]:
        """Of these places, after their words in disorder."""
        states = carried.at(start[batch] - SHUFFLED_LENGTH)
        words = [shuffle_words(ids[at - SHUFFLED_LENGTH : at], blank, draw) for at in start[batch]]
        reading.tick(SHUFFLED_LENGTH * len(words))
        return advance(reading.model, torch.from_numpy(np.stack(words, axis=1)), states)

    lost = excess_bits(reading, start, before, ks, read_at_most)
    return ProbeResult(
        x=f"{kind} in true order before",
        y=f"bits lost per {kind.removesuffix('s')}",
        chance=0.0,
        curves=[mean_curve(ks, lost)],
        numbers=[
            effective_context_length("effective context, the rest in disorder", reading, ks, lost)
        ],
        notes=notes,
    )


class SequentialState:
    """One reading of the text that stops where it is told."""

    def __init__(self, reading: ProbeContext) -> None:
        self.reading, self.done = reading, 0
        self.state = reading.model.initial_state(1)

    def at(self, places: Places) -> tuple[State, ...]:
        """The states before these places, which come in the order of the text, as one batch."""
        found = []
        for place in places.tolist():
            text = torch.from_numpy(self.reading.ids[self.done : place].astype(np.int64))
            self.state = advance(self.reading.model, text[:, None], self.state)
            self.reading.tick(place - self.done)
            self.done = place
            found.append(self.state)
        layers = zip(*found, strict=True)
        return tuple(tuple(map(torch.cat, zip(*layer, strict=True))) for layer in layers)


def word_starts(text: TokenIds, blank: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a word begins after the white space of another."""
    space = blank[text]
    return np.append(False, space[:-1] & ~space[1:])


def shuffle_words(text: TokenIds, blank: NDArray[np.bool_], draw: np.random.Generator) -> TokenIds:
    """The words of a text, each with its white space, in random order."""
    words = np.split(text.astype(np.int64), np.flatnonzero(word_starts(text, blank)))
    return np.concatenate([words[place] for place in draw.permutation(len(words))])
