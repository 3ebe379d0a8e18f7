"""Character n-grams: equal to their definition, counted only for the contexts asked for."""

import math
from collections import Counter
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose

from charlm.evaluation import discounts
from charlm.evaluation.discounts import DEFAULT, estimate_discounts
from charlm.evaluation.ngram import (
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


def ngram_counts(train: tuple[int, ...], length: int, raw: bool) -> Counter[tuple[int, ...]]:
    """Return the count of each n-gram, or its number of different tokens before it."""
    grams = [train[i : i + length + 1] for i in range(len(train) - length)]
    if not raw:  # without the token before them, and each only once
        longer = {train[i : i + length + 2] for i in range(len(train) - length - 1)}
        grams = [gram[1:] for gram in longer]
    return Counter(grams)


@cache
def discounts_by_definition(train: tuple[int, ...], length: int, raw: bool) -> list[float]:
    """Return the discounts after a context of this length, for counts 0 to 3."""
    sizes = Counter(ngram_counts(train, length, raw).values())
    n1, n2, n3, n4 = (sizes[count] for count in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) < discounts.LEAST_COUNTED:
        return [0.0, DEFAULT, DEFAULT, DEFAULT]
    y = n1 / (n1 + 2 * n2)
    return [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]


def distribution_by_definition(
    train: tuple[int, ...], ids: list[int], position: int, order: int
) -> list[float]:
    """Return the distribution after ids[:position], by counting every context in dictionaries."""
    probabilities = [1 / SIZE] * SIZE
    for length in range(min(order, position + 1)):
        context = tuple(ids[position - length : position])
        counts: Counter[int] = Counter()
        continuations = set()
        for end in range(length, len(train)):
            if train[end - length : end] != context:
                continue
            token = train[end]
            if length == order - 1:
                counts[token] += 1
            elif end > length and (train[end - length - 1], token) not in continuations:
                continuations.add((train[end - length - 1], token))
                counts[token] += 1
        if counts:
            known = discounts_by_definition(train, length, raw=length == order - 1)
            discount = {token: known[min(count, 3)] for token, count in counts.items()}
            freed = math.fsum(discount.values())
            probabilities = [
                (counts[token] - discount.get(token, 0.0) + freed * probabilities[token])
                / counts.total()
                for token in range(SIZE)
            ]
    return probabilities


@pytest.mark.parametrize("order", [1, 2, 3, 4, 8])
def test_probabilities_equal_their_definition(order: int) -> None:
    expected = [
        distribution_by_definition(tuple(TRAIN.tolist()), IDS.tolist(), position, order)
        for position in POSITIONS
    ]
    probabilities = next_token_probabilities(TRAIN, IDS, POSITIONS, SIZE, order)
    assert_allclose(probabilities, expected, rtol=1e-12)


@pytest.mark.parametrize("raw", [True, False])
def test_discounts_equal_their_definition(raw: bool) -> None:
    words = np.random.default_rng(4).integers(0, 30, (60, 5))  # 60 words, some of them rare
    train = words[np.random.default_rng(5).integers(0, 60, 900) ** 2 // 60].ravel()
    found = estimate_discounts(train, 30, 4)
    table = found.raw if raw else found.continuation
    expected = [discounts_by_definition(tuple(train.tolist()), length, raw) for length in range(4)]
    assert_allclose(table, np.clip(expected, 0, [0, 1, 2, 3]), rtol=1e-12)
    assert (table[1:, 1] != DEFAULT).any()


def test_discounts_of_a_long_text_are_estimated_from_a_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = np.random.default_rng(5).choice(40, 60_000, p=np.arange(1, 41) / 820)
    whole = estimate_discounts(train, 40, 4)
    monkeypatch.setattr(discounts, "SAMPLE", 10_000)
    part = estimate_discounts(train, 40, 4)
    assert not np.array_equal(part.raw, whole.raw)
    assert_allclose(part.raw[2:], whole.raw[2:], atol=0.1)
    assert_allclose(part.continuation[2:], whole.continuation[2:], atol=0.15)


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


def test_context_ends_where_a_text_begins() -> None:
    ids, begins = np.concatenate((IDS[:40], IDS)), np.repeat((0, 40), (40, len(IDS)))
    both = token_nll_by_order(TRAIN, ids, np.arange(len(ids)), SIZE, begins=begins)
    assert_allclose(both[:, 40:], token_nll_by_order(TRAIN, IDS, POSITIONS, SIZE), rtol=1e-12)
