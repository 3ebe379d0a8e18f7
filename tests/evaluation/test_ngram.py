"""Character n-grams: equal to their definition, counted only for the contexts asked for."""

import math
from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_allclose

from charlm.evaluation.ngram import (
    DISCOUNT,
    next_token_probabilities,
    token_counts,
    token_nll,
    token_nll_by_order,
)

SIZE = 7  # of the vocabulary; tokens 5 and 6 are not in TRAIN
GENERATOR = np.random.default_rng(0)
TRAIN = GENERATOR.choice(5, 600, p=[0.4, 0.3, 0.15, 0.1, 0.05]).astype(np.uint8)
IDS = np.concatenate((TRAIN[100:150], GENERATOR.integers(0, SIZE, 70))).astype(np.uint8)
POSITIONS = np.arange(len(IDS))


def distribution_by_definition(
    train: list[int], ids: list[int], position: int, order: int
) -> list[float]:
    """Return the distribution after ids[:position], by counting every context in dictionaries."""
    probabilities = [1 / SIZE] * SIZE
    for length in range(min(order, position + 1)):
        context = tuple(ids[position - length : position])
        counts: Counter[int] = Counter()
        continuations = set()
        for end in range(length, len(train)):
            if tuple(train[end - length : end]) != context:
                continue
            token = train[end]
            if length == order - 1:
                counts[token] += 1
            elif end > length and (train[end - length - 1], token) not in continuations:
                continuations.add((train[end - length - 1], token))
                counts[token] += 1
        if counts:
            discounted = DISCOUNT * len(counts)
            probabilities = [
                (max(counts[token] - DISCOUNT, 0) + discounted * probabilities[token])
                / counts.total()
                for token in range(SIZE)
            ]
    return probabilities


@pytest.mark.parametrize("order", [1, 2, 3, 4, 8])
def test_probabilities_equal_their_definition(order: int) -> None:
    expected = [
        distribution_by_definition(TRAIN.tolist(), IDS.tolist(), position, order)
        for position in POSITIONS
    ]
    probabilities = next_token_probabilities(TRAIN, IDS, POSITIONS, SIZE, order)
    assert_allclose(probabilities, expected, rtol=1e-12)


def test_token_counts_are_independent_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.evaluation.ngram.BLOCK", 7)
    assert token_counts(TRAIN, SIZE).tolist() == [list(TRAIN).count(n) for n in range(SIZE)]
    test_probabilities_equal_their_definition(1)
    uniform = token_nll(TRAIN[:0], IDS, POSITIONS, SIZE, 1)
    assert_allclose(uniform, math.log(SIZE), rtol=1e-12)


def test_probabilities_are_positive_and_sum_to_one() -> None:
    probabilities = next_token_probabilities(TRAIN, IDS, POSITIONS, SIZE)
    assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    assert probabilities.min() > 0


def test_nll_is_of_the_true_token_at_any_positions() -> None:
    nats = token_nll(TRAIN, IDS, POSITIONS, SIZE)
    probabilities = next_token_probabilities(TRAIN, IDS, POSITIONS, SIZE)
    assert_allclose(nats, -np.log(probabilities[POSITIONS, IDS]), rtol=1e-12)
    some = np.array([119, 3, 60, 61, 0])  # other positions have no effect
    assert_allclose(token_nll(TRAIN, IDS, some, SIZE), nats[some], rtol=1e-12)


def test_nll_approaches_the_entropy_of_a_markov_chain() -> None:
    """The next token follows in order, and with 0.2 is any of four: 0.8476 bits, not 2."""
    draw = np.random.default_rng(1)
    increments = np.where(draw.random(60_000) < 0.8, 1, draw.integers(0, 4, 60_000))
    ids = (np.cumsum(increments) % 4).astype(np.uint8)
    train, text = ids[:50_000], ids[50_000:]
    entropy = -(0.85 * math.log2(0.85) + 3 * 0.05 * math.log2(0.05))
    for order, expected in ((1, 2.0), (2, entropy), (3, entropy)):
        bits = token_nll(train, text, np.arange(10_000), 4, order).mean() / math.log(2)
        assert bits == pytest.approx(expected, rel=0.02), order


def test_nll_by_order_equals_each_order_alone() -> None:
    for ids in (IDS, IDS[:3]):  # the second is shorter than a context
        positions = np.arange(len(ids))
        by_order = token_nll_by_order(TRAIN, ids, positions, SIZE)
        for order, nats in enumerate(by_order, start=1):
            alone = token_nll(TRAIN, ids, positions, SIZE, order)
            assert_allclose(nats, alone, rtol=1e-12)
