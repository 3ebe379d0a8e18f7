"""Rare words that come again in a text, and other rare words to put in their place."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.data.vocabulary import ids_to_text
from charlm.probes.base import ProbeContext
from charlm.probes.places import continuous_starts
from charlm.probes.windows import Positions

WORD = re.compile(r"[^\W\d_]{4,}")  # runs of letters
NEAREST, FARTHEST = 64, 1024  # characters between the two occurrences
MAX_FREQUENCY = 1e-5  # in the training text, per character, of a rare word
COUNTED_TOKENS = 1 << 22  # at the end of the training text, in which words are counted
MAX_EVENTS = 2048
MAX_DRAWS = 32  # of another word for an event


@dataclass(frozen=True)
class RepeatedWords:
    """Rare words that come again; arrays (events,), in order of the text."""

    first: Positions  # first letter of the earlier occurrence
    second: Positions  # first letter of the later occurrence
    size: Positions  # letters of the word
    other: Positions  # first letter of another rare word of as many letters, anywhere in the text


def iter_rare_words(context: ProbeContext, text: str) -> Iterator[tuple[str, int]]:
    """Iterate over the rare words of the probed text, each with the index of its first letter.

    Args:
        context: Supplies the training text, in which words are counted.
        text: The probed text.
    """
    training_text = ids_to_text(context.train_ids[-COUNTED_TOKENS:], context.vocabulary)
    frequency = Counter(WORD.findall(training_text))
    max_count = MAX_FREQUENCY * len(training_text)
    for match in WORD.finditer(text):
        if frequency[match.group()] <= max_count:
            yield match.group(), match.start()


def find_repeated_words(context: ProbeContext) -> RepeatedWords:
    """Find rare words that come again NEAREST to FARTHEST characters after they were read.

    The earlier occurrence is the only one within this reach. Both are in the same file, where the
    text is cut by files. Where there are more than MAX_EVENTS, they are evenly thinned out.
    """
    text = ids_to_text(context.ids, context.vocabulary)
    begins = continuous_starts(context)
    rng = context.random("repeated words")
    occurrences: dict[str, list[int]] = {}  # of rare words
    candidates: list[tuple[int, int, str]] = []
    for word, second in iter_rare_words(context, text):
        earlier = occurrences.setdefault(word, [])
        in_reach = [first for first in earlier[-2:] if second - first - len(word) <= FARTHEST]
        earlier.append(second)
        if len(in_reach) == 1:
            (first,) = in_reach
            if second - first - len(word) >= NEAREST and begins[first] == begins[second]:
                candidates.append((first, second, word))
    if len(candidates) > MAX_EVENTS:
        chosen = np.arange(MAX_EVENTS) * len(candidates) // MAX_EVENTS
        candidates = [candidates[index] for index in chosen]
    by_size: dict[int, list[str]] = {}
    for word in occurrences:
        by_size.setdefault(len(word), []).append(word)
    events = []
    for first, second, word in candidates:
        passage = text[max(0, second - 2 * FARTHEST) : second + len(word)]
        words = by_size[len(word)]
        draws = (words[index] for index in rng.integers(len(words), size=MAX_DRAWS))
        other = next((draw for draw in draws if draw not in passage), None)
        if other is not None:
            events.append((first, second, len(word), occurrences[other][0]))
    return RepeatedWords(*np.array(events, np.int64).reshape(-1, 4).T)
