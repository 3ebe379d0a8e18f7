"""Character n-grams: interpolated Kneser-Ney, counted for the requested contexts only."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from charlm.data.vocabulary import TokenIds

ORDER = 8  # tokens: a context of seven and the token that it predicts
DISCOUNT = 0.75  # subtracted from every count, for unseen continuations
MAX_TRAINING_TOKENS = 1 << 24  # that contexts are counted on: minutes, and about 1 GB
BLOCK = 1 << 20  # tokens that are counted at once without a context
Counts = NDArray[np.int64]
Probabilities = NDArray[np.float64]


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
    train: TokenIds, ids: TokenIds, positions: Counts, vocabulary_size: int, order: int = ORDER
) -> Probabilities:
    """Return nats of ids[positions] under n-grams of order 1, 2, ..., (order, positions).

    The arguments are those of `token_nll`.
    """
    targets = ids[positions].astype(np.int64)[:, None]
    shorter = np.full((len(positions), 1), 1 / vocabulary_size)
    nats = []
    for contexts, pairs, preceding in _iter_contexts(train, ids, positions, vocabulary_size, order):
        longest = _interpolate(shorter, pairs, contexts, vocabulary_size, targets)
        nats.append(-np.log(longest[:, 0]))
        continuations = _continuation_pairs(pairs, preceding, vocabulary_size)
        shorter = _interpolate(shorter, continuations, contexts, vocabulary_size, targets)
    return np.stack(nats)


def token_counts(train: TokenIds, vocabulary_size: int) -> Counts:
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

    With c the count of a token after a context, n of all tokens after it and t of different ones,
    P(token | context) = (max(c - D, 0) + D t P(token | shorter context)) / n,
    down to 1 / vocabulary size. Only the longest context has true counts. In a shorter one, c is
    the number of different tokens before context and token together. A context without counts
    leaves the probabilities of the shorter one.

    Source: Kneser & Ney (1995), interpolated as by Chen & Goodman (1999).
    """
    if order == 1:
        unigram = _unigram_probabilities(train, vocabulary_size)
        return np.broadcast_to(unigram[targets], (len(positions), targets.shape[1]))
    probabilities = np.full((len(positions), targets.shape[1]), 1 / vocabulary_size)
    for length, (contexts, pairs, preceding) in enumerate(
        _iter_contexts(train, ids, positions, vocabulary_size, order)
    ):
        if length < order - 1:
            pairs = _continuation_pairs(pairs, preceding, vocabulary_size)
        probabilities = _interpolate(probabilities, pairs, contexts, vocabulary_size, targets)
    return probabilities


def _unigram_probabilities(train: TokenIds, vocabulary_size: int) -> Probabilities:
    """Return the probability of each token without a context, (vocabulary size,)."""
    counts = token_counts(train, vocabulary_size)
    if not counts.any():
        return np.full(vocabulary_size, 1 / vocabulary_size)
    discounted = DISCOUNT * np.count_nonzero(counts)
    mass = np.maximum(counts - DISCOUNT, 0) + discounted / vocabulary_size
    probabilities: Probabilities = mass / counts.sum()
    return probabilities


def _continuation_pairs(pairs: Counts, preceding: Counts, vocabulary_size: int) -> Counts:
    """Return the pairs of context and token, once for each different token before them."""
    has_preceding = preceding >= 0
    triples = np.unique(pairs[has_preceding] * vocabulary_size + preceding[has_preceding])
    return triples // vocabulary_size


def _interpolate(
    shorter: Probabilities,
    pairs: Counts,
    contexts: Counts,
    vocabulary_size: int,
    targets: Counts,
) -> Probabilities:
    """Return probabilities after `contexts`; those by the shorter context if one has no counts."""
    unique_pairs, counts = np.unique(pairs, return_counts=True)
    counted_contexts = unique_pairs // vocabulary_size
    size = max(contexts.max(initial=0), counted_contexts.max(initial=0)) + 1
    n = np.bincount(counted_contexts, counts, size)[contexts, None]
    t = np.bincount(counted_contexts, minlength=size)[contexts, None]
    c = _lookup(unique_pairs, counts, contexts[:, None] * vocabulary_size + targets)
    mass = np.maximum(c - DISCOUNT, 0) + DISCOUNT * t * shorter
    is_counted = (n > 0) & (contexts >= 0)[:, None]
    return np.divide(mass, n, out=shorter.copy(), where=is_counted)


def _iter_contexts(
    train: TokenIds, ids: TokenIds, positions: Counts, vocabulary_size: int, order: int
) -> Iterator[tuple[Counts, Counts, Counts]]:
    """Iterate over context lengths 0, 1, ..., order - 1.

    Contexts of a length that precede any position are numbered. Others are never counted.

    Yields:
        contexts: number of the context before each position, (positions,); -1 if train has none.
        pairs: for each occurrence in train: context number * vocabulary size + next token.
        preceding: for each occurrence: the token before the context; -1 at the start of train.
    """
    ends = np.arange(len(train), dtype=np.int32)  # of occurrences: index of the next token
    numbers = np.zeros(len(train), np.int64)  # context of each occurrence
    contexts = np.zeros(len(positions), np.int64)
    for length in range(order):
        preceding = np.where(ends > length, train[ends - length - 1].astype(np.int32), -1)
        yield contexts, numbers * vocabulary_size + train[ends], preceding
        previous = ids[np.maximum(positions - length - 1, 0)]
        has_longer = (contexts >= 0) & (positions > length)
        longer = np.where(has_longer, contexts * vocabulary_size + previous, -1)
        keys = np.unique(longer[longer >= 0])
        indices = np.arange(len(keys))
        occurrence_keys = np.where(preceding >= 0, numbers * vocabulary_size + preceding, -1)
        numbers = _lookup(keys, indices, occurrence_keys, -1)
        ends, numbers = ends[numbers >= 0], numbers[numbers >= 0]
        contexts = _lookup(keys, indices, longer, -1)


def _lookup(keys: Counts, values: Counts, queries: Counts, default: int = 0) -> Counts:
    """Return the values of queries, of any shape; keys are sorted."""
    if not len(keys):
        return np.full(queries.shape, default)
    index = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
    result: Counts = np.where(keys[index] == queries, values[index], default)
    return result
