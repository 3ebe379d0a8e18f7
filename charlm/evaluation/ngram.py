"""Character n-grams: modified Kneser-Ney, counted for the requested contexts only."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charlm.data.sorting import count_unique, find_sorted, sorted_unique
from charlm.data.stored_ids import StoredIds
from charlm.data.vocabulary import TokenIds
from charlm.evaluation.discounts import Discounts, estimate_discounts

ORDER = 8  # tokens: a context of seven and the token that it predicts
MAX_TRAINING_TOKENS = 1 << 24  # that contexts are counted on: seconds, and about 1 GB
BLOCK = 1 << 20  # tokens that are counted at once without a context
Counts = NDArray[np.int64]
Probabilities = NDArray[np.float64]


class _Level(NamedTuple):
    """Contexts of one length, numbered, and where they occur in train."""

    contexts: Counts  # (positions,): number of the context before each; -1 if train has none
    pairs: Counts  # (occurrences,): context number * vocabulary size + next token
    preceding: Counts  # (occurrences,): token before the context; -1 at the start of train


def token_nll(
    train: TokenIds, ids: TokenIds, positions: Counts, vocabulary_size: int, order: int = ORDER
) -> Probabilities:
    """Return nats of ids[positions], (positions,), each after all that precedes it in ids.

    Args:
        train: Ids that n-grams are counted on, (train length,).
        ids: Text, (length,).
        positions: Indices of the tokens to score, (positions,).
        vocabulary_size: Number of ids.
        order: Longest n-gram in tokens.
    """
    targets = ids[positions].astype(np.int64)[:, None]
    probabilities = _probabilities(train, ids, positions, vocabulary_size, order, targets)
    nats: Probabilities = -np.log(probabilities[:, 0])
    return nats


def next_token_probabilities(
    train: TokenIds, ids: TokenIds, positions: Counts, vocabulary_size: int, order: int = ORDER
) -> Probabilities:
    """Return the distribution of the token at each position, (positions, vocabulary size).

    The arguments are those of `token_nll`.
    """
    targets = np.arange(vocabulary_size)[None]
    return _probabilities(train, ids, positions, vocabulary_size, order, targets)


def token_nll_by_order(
    train: TokenIds,
    ids: TokenIds,
    positions: Counts,
    vocabulary_size: int,
    order: int = ORDER,
    begins: Counts | None = None,
) -> Probabilities:
    """Return nats of ids[positions] under n-grams of order 1, 2, ..., (order, positions).

    Args:
        train: As in `token_nll`, like the arguments that follow.
        ids: Text, or several texts one after the other.
        positions: Indices of the tokens to score.
        vocabulary_size: Number of ids.
        order: Longest n-gram in tokens.
        begins: Where the text of each position begins, (positions,); None: all at 0.
    """
    targets = ids[positions].astype(np.int64)[:, None]
    discounts = estimate_discounts(train, vocabulary_size, order)
    shorter = np.full((len(positions), 1), 1 / vocabulary_size)
    nats = []
    for length, level in enumerate(
        _iter_levels(train, ids, positions, vocabulary_size, order, begins)
    ):
        longest = _interpolate(
            shorter, level.pairs, level.contexts, vocabulary_size, targets, discounts.raw[length]
        )
        nats.append(-np.log(longest[:, 0]))
        if length < order - 1:
            pairs, continuation = (
                _continuation_pairs(level, vocabulary_size),
                discounts.continuation,
            )
            shorter = _interpolate(
                shorter, pairs, level.contexts, vocabulary_size, targets, continuation[length]
            )
    return np.stack(nats)


def token_counts(train: TokenIds | StoredIds, vocabulary_size: int) -> Counts:
    """Return how often each token occurs, (vocabulary size,), in a text of any length."""
    counts = np.zeros(vocabulary_size, np.int64)
    for start in range(0, len(train), BLOCK):
        counts += np.bincount(train[start : start + BLOCK], minlength=vocabulary_size)
    return counts


def _probabilities(
    train: TokenIds,
    ids: TokenIds,
    positions: Counts,
    vocabulary_size: int,
    order: int,
    targets: Counts,
) -> Probabilities:
    """Return probabilities of targets, (positions or 1, any), at each position: (positions, any).

    With c the count of a token after a context, n of all tokens after it, D(c) the discount of a
    count and F the sum of all discounts after the context,
    P(token | context) = (c - D(c) + F P(token | shorter context)) / n,
    down to 1 / vocabulary size. Only the longest context has true counts. In a shorter one, c is
    the number of different tokens before context and token together. A context without counts
    leaves the probabilities of the shorter one.

    Source: Kneser & Ney (1995), modified as by Chen & Goodman (1999).
    """
    discounts = estimate_discounts(train, vocabulary_size, order)
    if order == 1:
        unigram = _unigram_probabilities(train, vocabulary_size, discounts)
        return np.broadcast_to(unigram[targets], (len(positions), targets.shape[1]))
    probabilities = np.full((len(positions), targets.shape[1]), 1 / vocabulary_size)
    for length, level in enumerate(_iter_levels(train, ids, positions, vocabulary_size, order)):
        pairs, discount = level.pairs, discounts.raw[length]
        if length < order - 1:
            pairs = _continuation_pairs(level, vocabulary_size)
            discount = discounts.continuation[length]
        probabilities = _interpolate(
            probabilities, pairs, level.contexts, vocabulary_size, targets, discount
        )
    return probabilities


def _unigram_probabilities(
    train: TokenIds, vocabulary_size: int, discounts: Discounts
) -> Probabilities:
    """Return the probability of each token without a context, (vocabulary size,)."""
    counts = token_counts(train, vocabulary_size)
    if not counts.any():
        return np.full(vocabulary_size, 1 / vocabulary_size)
    taken = discounts.raw[0][np.minimum(counts, 3)]
    probabilities: Probabilities = (counts - taken + taken.sum() / vocabulary_size) / counts.sum()
    return probabilities


def _continuation_pairs(level: _Level, vocabulary_size: int) -> Counts:
    """Return the pairs of context and token, once for each different token before them."""
    has_preceding = level.preceding >= 0
    triples = level.pairs[has_preceding] * vocabulary_size + level.preceding[has_preceding]
    return sorted_unique(triples) // vocabulary_size


def _interpolate(
    shorter: Probabilities,
    pairs: Counts,
    contexts: Counts,
    vocabulary_size: int,
    targets: Counts,
    discount: Probabilities,
) -> Probabilities:
    """Return probabilities after `contexts`; those by the shorter context if one has no counts."""
    unique_pairs, counts = count_unique(pairs)
    taken = discount[np.minimum(counts, 3)]
    counted_contexts = unique_pairs // vocabulary_size
    size = max(contexts.max(initial=0), counted_contexts.max(initial=0)) + 1
    n = np.bincount(counted_contexts, counts, size)[contexts, None]
    freed = np.bincount(counted_contexts, taken, size)[contexts, None]
    queries = contexts[:, None] * vocabulary_size + targets
    index = find_sorted(unique_pairs, queries.ravel()).reshape(queries.shape)
    kept = np.append(counts - taken, 0)[index]  # index -1: never seen here
    is_counted = (n > 0) & (contexts >= 0)[:, None]
    return np.divide(kept + freed * shorter, n, out=shorter.copy(), where=is_counted)


def _iter_levels(
    train: TokenIds,
    ids: TokenIds,
    positions: Counts,
    vocabulary_size: int,
    order: int,
    begins: Counts | None = None,
) -> Iterator[_Level]:
    """Iterate over contexts of 0, 1, ..., order - 1 tokens.

    Contexts of a length that precede any position are numbered. Others are never counted.
    """
    available = positions if begins is None else positions - begins  # tokens before each position
    ends = np.arange(len(train), dtype=np.int32)  # of occurrences: index of the next token
    numbers = np.zeros(len(train), np.int64)  # context of each occurrence
    contexts = np.zeros(len(positions), np.int64)
    for length in range(order):
        preceding = train[ends - length - 1].astype(np.int64)
        preceding[ends <= length] = -1
        yield _Level(contexts, numbers * vocabulary_size + train[ends], preceding)
        if length == order - 1:
            return
        previous = ids[np.maximum(positions - length - 1, 0)]
        has_longer = (contexts >= 0) & (available > length)
        longer = np.where(has_longer, contexts * vocabulary_size + previous, -1)
        keys = sorted_unique(longer[has_longer])
        occurrence_keys = numbers * vocabulary_size + preceding
        occurrence_keys[preceding < 0] = -1
        numbers = find_sorted(keys, occurrence_keys)
        is_kept = numbers >= 0
        ends, numbers = ends[is_kept], numbers[is_kept]
        contexts = find_sorted(keys, longer)
