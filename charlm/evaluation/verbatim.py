"""Longest verbatim matches of short texts in a long one: a suffix automaton, walked in parallel.

The automaton of the short texts is walked over the long one, which takes a time proportional to its
length. Thousands of places of the long text are walked at once. The result is exact.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charlm.data.vocabulary import TokenIds
from charlm.progress import ProgressCallback, ignore

WALKERS = 1 << 14  # places of the long text that are walked at once
MIN_STEPS = 1024  # of a walker
STEPS_AT_ONCE = 256  # whose tokens are made contiguous at once
SEPARATOR = -1  # between the short texts: no token
MAX_ENTRIES = 1 << 24  # of the table of an automaton: 16 bytes each
NEVER = np.iinfo(np.int32).max
Lengths = NDArray[np.int32]


class SuffixAutomaton:
    """Smallest automaton that accepts all substrings of a text.

    Attributes:
        transitions: Token -> next state, of each state; state 0 is the empty text.
        links: State of the longest suffix that is in another state.
        lengths: Length of the longest text of each state.
        prefixes: State of each non-empty prefix of the text.

    Source:
        Blumer et al. (1985), "The smallest automaton recognizing the subwords of a text".
    """

    def __init__(self, text: Sequence[int]) -> None:
        """Build the automaton of a text."""
        self.transitions: list[dict[int, int]] = [{}]
        self.links, self.lengths, self.prefixes = [-1], [0], [0]
        for token in text:
            self._extend(token)
        del self.prefixes[0]

    def _add(self, transitions: dict[int, int], link: int, length: int) -> int:
        self.transitions.append(transitions)
        self.links.append(link)
        self.lengths.append(length)
        return len(self.links) - 1

    def _extend(self, token: int) -> None:
        """Add a token at the end of the text."""
        state = self.prefixes[-1]
        new = self._add({}, 0, self.lengths[state] + 1)
        self.prefixes.append(new)
        while state >= 0 and token not in self.transitions[state]:
            self.transitions[state][token] = new
            state = self.links[state]
        if state < 0:
            return
        following = self.transitions[state][token]
        length = self.lengths[state] + 1
        if self.lengths[following] != length:  # only its shorter texts end here, too
            copied, link = dict(self.transitions[following]), self.links[following]
            clone = self._add(copied, link, length)
            self.links[following] = clone
            while state >= 0 and self.transitions[state].get(token) == following:
                self.transitions[state][token] = clone
                state = self.links[state]
            following = clone
        self.links[new] = following


def longest_matches(
    texts: Sequence[Sequence[int]], train: TokenIds, count: ProgressCallback = ignore
) -> list[Lengths]:
    """Return the length of the longest match with a long text that ends at each token.

    Args:
        texts: Ids of short texts.
        train: Ids of the long text, (length,).
        count: Is called with numbers of tokens of the long text that were read.

    Returns:
        Lengths (tokens of the text,) of each text.
    """
    found: list[Lengths] = []
    for group in _group(texts):
        joined = [token for text in group for token in (*text, SEPARATOR)]
        automaton = SuffixAutomaton(joined)
        longest = _longest_of_states(automaton, _walk(automaton, train, count))
        ends = np.cumsum([0, *(len(text) + 1 for text in group)])
        all_lengths = longest[automaton.prefixes]
        found += [all_lengths[start : end - 1] for start, end in pairwise(ends)]
    return found


def first_occurrence(text: TokenIds, train: TokenIds) -> int:
    """Return where a short text stands first in a long one; -1: nowhere.

    Args:
        text: Ids (length,), of the type of the long text.
        train: Ids of the long text.
    """
    wanted, size = text.tobytes(), train.itemsize
    chunk = 1 << 24
    for start in range(0, len(train), chunk):
        data = train[start : start + chunk + len(text) - 1].tobytes()
        place = data.find(wanted)
        while place >= 0 and place % size:
            place = data.find(wanted, place + 1)
        if place >= 0:
            return start + place // size
    return -1


def covered_mask(lengths: Lengths, min_length: int) -> NDArray[np.bool_]:
    """Return which tokens of a text are part of a match of at least this length.

    Args:
        lengths: Length of the longest match that ends at each token.
        min_length: Shortest match that counts.
    """
    edges = np.zeros(len(lengths) + 1, np.int64)
    (ends,) = np.nonzero(lengths >= min_length)
    np.add.at(edges, ends - lengths[ends] + 1, 1)
    np.add.at(edges, ends + 1, -1)
    mask: NDArray[np.bool_] = edges[:-1].cumsum() > 0
    return mask


def _group(texts: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Return the texts in groups with tables of a size that fits in memory."""
    groups: list[list[Sequence[int]]] = []
    tokens: set[int] = set()
    length = 0
    for text in texts:
        tokens |= set(text)
        length += len(text) + 1
        if not groups or 2 * length * (len(tokens) + 1) > MAX_ENTRIES:
            groups.append([])
            tokens, length = set(text), len(text) + 1
        groups[-1].append(text)
    return groups


def _walk(automaton: SuffixAutomaton, train: TokenIds, count: ProgressCallback) -> Lengths:
    """Return the length of the longest text of each state that was met in the long text."""
    tokens = sorted({token for row in automaton.transitions for token in row if token >= 0})
    symbols = np.zeros(max([int(train.max(initial=0)), *tokens]) + 1, np.int64)
    symbols[tokens] = np.arange(1, len(tokens) + 1)  # 0: a token that no short text has
    width = len(tokens) + 1
    following, limits = _tables(automaton, symbols, width)
    longest = np.zeros(len(following), np.int32)  # at the first entry of each state

    walkers = max(1, min(WALKERS, len(train) // MIN_STEPS))
    steps = -(-len(train) // walkers)
    walkers = -(-len(train) // steps) if steps else 0
    padded = np.zeros(steps, np.int64)  # the last walker has fewer tokens
    rest = symbols[train[max(0, walkers - 1) * steps :]]
    padded[: len(rest)] = rest
    whole = train[: max(0, walkers - 1) * steps].reshape(-1, max(1, steps))
    place = np.zeros(walkers, np.int64)  # first entry of the state
    length = np.zeros(walkers, np.int32)
    for start in range(0, steps, STEPS_AT_ONCE):
        end = min(start + STEPS_AT_ONCE, steps)
        block = np.empty((end - start, walkers), np.int64)
        block[:, :-1] = symbols[whole[:, start:end].T]
        block[:, -1] = padded[start:end]
        for row in block:
            place, length = _step(place, length, row, following, limits, longest)
        count((end - start) * walkers)
    # A match may go on where the next walker began.
    active = np.arange(walkers - 1)
    place, length = place[:-1], length[:-1]
    for beyond in range(len(train)):
        positions = (active + 1) * steps + beyond
        keep = (length > beyond) & (positions < len(train))
        if not keep.any():
            break
        active, place, length = active[keep], place[keep], length[keep]
        row = symbols[train[positions[keep]]]
        place, length = _step(place, length, row, following, limits, longest)
    return longest[::width]


def _step(
    place: NDArray[np.int64],
    length: Lengths,
    row: NDArray[np.int64],
    following: NDArray[np.int64],
    limits: Lengths,
    longest: Lengths,
) -> tuple[NDArray[np.int64], Lengths]:
    """Return states and lengths of all walkers after a token of each; note the longest."""
    entry = place + row
    place = following[entry]
    length = np.minimum(length, limits[entry])
    length += 1
    is_longer = length > longest[place]
    if is_longer.any():
        np.maximum.at(longest, place[is_longer], length[is_longer])
    return place, length


def _tables(
    automaton: SuffixAutomaton, symbols: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], Lengths]:
    """Return the next state of each state and symbol, and how much of a match it keeps at most.

    Where a state has no transition, that of its longest suffix which has one counts.
    """
    states = len(automaton.links)
    following = np.zeros((states, width), np.int64)
    limits = np.full((states, width), -1, np.int32)
    for state in np.argsort(automaton.lengths, kind="stable").tolist():
        link = automaton.links[state]
        if link >= 0:
            following[state] = following[link]
            np.minimum(limits[link], automaton.lengths[link], out=limits[state])
        for token, target in automaton.transitions[state].items():
            if token >= 0:
                following[state, symbols[token]] = target * width
                limits[state, symbols[token]] = NEVER - 1
    return following.ravel(), limits.ravel()


def _longest_of_states(automaton: SuffixAutomaton, met: Lengths) -> Lengths:
    """Return the length of the longest suffix of each state's texts that was met.

    Args:
        automaton: The automaton.
        met: Length of the longest text of each state that was met; 0: none.
    """
    longest = met.copy()
    order = np.argsort(automaton.lengths, kind="stable").tolist()
    for state in reversed(order[1:]):  # with a text, all of its suffixes were met
        link = automaton.links[state]
        if longest[state]:
            longest[link] = automaton.lengths[link]
    for state in order[1:]:
        if not longest[state]:
            longest[state] = longest[automaton.links[state]]
    return longest
