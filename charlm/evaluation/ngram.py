"""Character n-grams, to compare with: interpolated Kneser-Ney, counted only where it is asked."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from charlm.data.vocabulary import TokenIds

ORDER = 8  # characters that are counted together: seven, and the one they predict
DISCOUNT = 0.75  # taken from every count, for what was not seen
MAX_TRAINING_TOKENS = (
    1 << 24
)  # symbols of a text that contexts are counted of: minutes, and about 1 GB
BLOCK = 1 << 20  # symbols that are counted at once where they have no context
Counts = NDArray[np.int64]
Probabilities = NDArray[np.float64]


def token_nll(
    train: TokenIds, text: TokenIds, at: Counts, symbols: int, order: int = ORDER
) -> Probabilities:
    """Nats of the characters text[at], (len(at),), each after all that truly stands before it."""
    wanted = text[at].astype(np.int64)[:, None]
    nats: Probabilities = -np.log(_interpolated(train, text, at, symbols, order, wanted)[:, 0])
    return nats


def next_token_probabilities(
    train: TokenIds, text: TokenIds, at: Counts, symbols: int, order: int = ORDER
) -> Probabilities:
    """What was to be expected at these places: the chance of every symbol, (len(at), symbols)."""
    return _interpolated(train, text, at, symbols, order, np.arange(symbols)[None])


def token_nll_by_order(
    train: TokenIds, text: TokenIds, at: Counts, symbols: int, order: int = ORDER
) -> Probabilities:
    """Nats of the characters text[at] by n-grams of 1, 2, ... characters, (order, len(at))."""
    wanted = text[at].astype(np.int64)[:, None]
    found = np.full((len(at), 1), 1 / symbols)
    nats = []
    for asked, seen, before in _iter_contexts(train, text, at, symbols, order):
        nats.append(-np.log(_interpolate(found, seen, asked, symbols, wanted)[:, 0]))
        found = _interpolate(
            found, _continuation_pairs(seen, before, symbols), asked, symbols, wanted
        )
    return np.stack(nats)


def _interpolated(
    train: TokenIds, text: TokenIds, at: Counts, symbols: int, order: int, wanted: Counts
) -> Probabilities:
    """The chances of the wanted symbols, (len(at) or 1, any), at each place: (len(at), any).

    Kneser & Ney (1995), interpolated as by Chen & Goodman (1999): with c the count of a symbol
    after a context, n of all symbols there and t of different ones,
    P(symbol | context) = (max(c - D, 0) + D t P(symbol | shorter context)) / n,
    down to 1 / symbols. Only the longest context has true counts: in a shorter one c is the number
    of different characters before context and symbol together. A context without counts says
    nothing, and the shorter one stands.
    """
    if order == 1:
        return np.broadcast_to(
            _unigram_probabilities(train, symbols)[wanted], (len(at), wanted.shape[1])
        )
    found = np.full((len(at), wanted.shape[1]), 1 / symbols)
    for length, (asked, seen, before) in enumerate(_iter_contexts(train, text, at, symbols, order)):
        counted = seen if length == order - 1 else _continuation_pairs(seen, before, symbols)
        found = _interpolate(found, counted, asked, symbols, wanted)
    return found


def token_counts(train: TokenIds, symbols: int) -> Counts:
    """How often each symbol is there, (symbols,), however long the text is."""
    counts = np.zeros(symbols, np.int64)
    for at in range(0, len(train), BLOCK):
        counts += np.bincount(train[at : at + BLOCK], minlength=symbols)
    return counts


def _unigram_probabilities(train: TokenIds, symbols: int) -> Probabilities:
    """The chance of each symbol after no context, (symbols,)."""
    counts = token_counts(train, symbols)
    if not counts.any():
        return np.full(symbols, 1 / symbols)
    left = DISCOUNT * np.count_nonzero(counts)
    chances: Probabilities = (np.maximum(counts - DISCOUNT, 0) + left / symbols) / counts.sum()
    return chances


def _continuation_pairs(seen: Counts, before: Counts, symbols: int) -> Counts:
    """What was seen, once for each different character before it."""
    has_one = before >= 0
    return np.unique(seen[has_one] * symbols + before[has_one]) // symbols


def _interpolate(
    found: Probabilities, seen: Counts, asked: Counts, symbols: int, wanted: Counts
) -> Probabilities:
    """The chances by a shorter context, found, -> those by this one, asked, where it was seen."""
    pairs, counts = np.unique(seen, return_counts=True)
    contexts = pairs // symbols
    size = max(asked.max(initial=0), contexts.max(initial=0)) + 1
    n = np.bincount(contexts, counts, size)[asked, None]
    t = np.bincount(contexts, minlength=size)[asked, None]
    c = _lookup(pairs, counts, asked[:, None] * symbols + wanted)
    mixed = np.maximum(c - DISCOUNT, 0) + DISCOUNT * t * found
    known = (n > 0) & (asked >= 0)[:, None]
    return np.divide(mixed, n, out=found.copy(), where=known)


def _iter_contexts(
    train: TokenIds, text: TokenIds, at: Counts, symbols: int, order: int
) -> Iterator[tuple[Counts, Counts, Counts]]:
    """For contexts of 0, 1, ... characters: the number of the one before each place, -1 if train
    has none such; and of all that train has of those, number * symbols + what follows, and the
    character before, -1 at the beginning."""
    follow = np.arange(len(train), dtype=np.int32)  # where a context ends that is still asked for
    number = np.zeros(len(train), np.int64)
    asked = np.zeros(len(at), np.int64)
    for length in range(order):
        before = np.where(follow > length, train[follow - length - 1].astype(np.int32), -1)
        yield asked, number * symbols + train[follow], before
        preceding = text[np.maximum(at - length - 1, 0)]
        longer = np.where((asked >= 0) & (at > length), asked * symbols + preceding, -1)
        wanted = np.unique(longer[longer >= 0])
        places = np.arange(len(wanted))
        keys = np.where(before >= 0, number * symbols + before, -1)
        number = _lookup(wanted, places, keys, -1)
        follow, number = follow[number >= 0], number[number >= 0]
        asked = _lookup(wanted, places, longer, -1)


def _lookup(keys: Counts, values: Counts, wanted: Counts, without: int = 0) -> Counts:
    """The values of the wanted keys, of any shape; keys are sorted."""
    if not len(keys):
        return np.full(wanted.shape, without)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Counts = np.where(keys[place] == wanted, values[place], without)
    return found
