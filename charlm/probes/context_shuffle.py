"""Context shuffle: bits lost if words before the last k characters are in random order."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.cells.base import State
from charlm.data.vocabulary import TokenIds, vocabulary_mask
from charlm.evaluation.streaming import advance
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.effective_context import (
    CONTEXT_LENGTHS,
    MAX_TOKENS_READ,
    Positions,
    effective_context_length,
    evenly_spaced,
    excess_bits,
    mean_curve,
    usable_context_lengths,
)
from charlm.results.probes import ProbeResult
from charlm.seeding import derive_seed

SHUFFLED_LENGTH = 512  # tokens of the passage with shuffled words
NUM_POSITIONS = 2048
MIN_POSITIONS = 200


@register_probe("context-shuffle")
@torch.inference_mode()
def context_shuffle(
    context: ProbeContext,
    context_lengths: Sequence[int] = CONTEXT_LENGTHS,
    num_positions: int = NUM_POSITIONS,
    max_tokens_read: int = MAX_TOKENS_READ,
) -> ProbeOutput:
    """Does the model know the order of the distant context, or only its words?

    Question: How many bits does it cost if only the last k characters are in their true order, and
    the words before them are in random order?

    Protocol: Starts are evenly spaced over the text, except for its first 512 characters and its
    end, which is as long as the largest k; a large k has fewer of them. At each start the model has
    read all of the text up to 512 characters before, reads the words of these 512 in random order,
    and reads on in the true text. A word ends after its white space; the first and the last word
    may be cut. Starts with fewer than two words there are left out. The character after k true ones
    is scored, a different one for each k, and compared with its cost with full context. The number
    is the smallest tested k that costs at most 1 % more than full context. Its 95 % interval is a
    bootstrap with 1,000 resamples of 64 blocks of the text.

    Unit: Bits lost per character (or byte), by the number of characters in true order. Error bars
    are standard errors.

    Chance: The line is 0: a model that does not use the order of words beyond the last k characters
    loses nothing there.

    Source: Khandelwal, He, Qi & Jurafsky (2018), "Sharp Nearby, Fuzzy Far Away: How Neural Language
    Models Use Context", section 5. The range in characters and the paired difference are additions.
    """
    ids = context.ids
    context_lengths, notes = usable_context_lengths(
        context_lengths, context, unscored=SHUFFLED_LENGTH
    )
    is_space = vocabulary_mask(context.vocabulary, str.isspace)
    rng = np.random.default_rng(derive_seed(context.seed, "shuffle"))
    candidates = evenly_spaced(SHUFFLED_LENGTH, len(ids) - context_lengths[-1], num_positions)
    words_before = np.append(0, np.cumsum(word_starts(ids, is_space)))
    has_two_words = words_before[candidates] > words_before[candidates - SHUFFLED_LENGTH + 1]
    start = candidates[has_two_words]
    required = min(MIN_POSITIONS, len(candidates))
    if len(start) < required:
        raise ProbeNotApplicableError(
            f"{len(start):,} of {len(candidates):,} positions follow two words in "
            f"{SHUFFLED_LENGTH} {context.unit}s, but {required:,} are needed"
        )
    if num_dropped := len(candidates) - len(start):
        notes.append(
            f"{num_dropped:,} of {len(candidates):,} positions left out: "
            f"fewer than two words in the {SHUFFLED_LENGTH} {context.unit}s before"
        )
    sequential = SequentialState(context)

    def states_after_shuffled_words(batch: slice) -> tuple[State, ...]:
        states = sequential.at(start[batch] - SHUFFLED_LENGTH)
        shuffled = [
            shuffle_words(ids[position - SHUFFLED_LENGTH : position], is_space, rng)
            for position in start[batch]
        ]
        context.tick(SHUFFLED_LENGTH * len(shuffled))
        return advance(context.model, torch.from_numpy(np.stack(shuffled, axis=1)), states)

    excess = excess_bits(
        context, start, states_after_shuffled_words, context_lengths, max_tokens_read
    )
    name = "effective context, distant words shuffled"
    result = ProbeResult(
        x=f"{context.unit}s in true order",
        y=f"bits lost per {context.unit}",
        chance=0.0,
        curves=[mean_curve(context_lengths, excess)],
        numbers=[effective_context_length(name, context, context_lengths, excess)],
        notes=notes,
    )
    return ProbeOutput(result)


class SequentialState:
    """The model's state at ascending positions of the text, from one pass over it."""

    def __init__(self, context: ProbeContext) -> None:
        self.context = context
        self.position = 0
        self.state = context.model.initial_state(1)

    def at(self, positions: Positions) -> tuple[State, ...]:
        """Return the states before these positions as one batch.

        Args:
            positions: Ascending, none before those of an earlier call.
        """
        states = []
        for position in positions.tolist():
            text = torch.from_numpy(self.context.ids[self.position : position].astype(np.int64))
            self.state = advance(self.context.model, text[:, None], self.state)
            self.context.tick(position - self.position)
            self.position = position
            states.append(self.state)
        layers = zip(*states, strict=True)
        return tuple(tuple(map(torch.cat, zip(*layer, strict=True))) for layer in layers)


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
