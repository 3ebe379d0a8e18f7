"""The n-gram that models are compared with is its definition, and counts only what is asked."""

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

SYMBOLS = 7
DRAW = np.random.default_rng(0)
TRAIN = DRAW.choice(5, 600, p=[0.4, 0.3, 0.15, 0.1, 0.05]).astype(np.uint8)  # 5 and 6 never appear
TEXT = np.concatenate((TRAIN[100:150], DRAW.integers(0, SYMBOLS, 70))).astype(np.uint8)
WHOLE = np.arange(len(TEXT))


def by_definition(train: list[int], text: list[int], at: int, order: int) -> list[float]:
    """The chance of each symbol after text[:at], with dictionaries of everything there is."""
    found = [1 / SYMBOLS] * SYMBOLS
    for length in range(min(order, at + 1)):
        context = tuple(text[at - length : at])
        counts: Counter[int] = Counter()
        before = set()
        for place in range(length, len(train)):
            if tuple(train[place - length : place]) != context:
                continue
            symbol = train[place]
            if length == order - 1:
                counts[symbol] += 1
            elif place > length and (train[place - length - 1], symbol) not in before:
                before.add((train[place - length - 1], symbol))
                counts[symbol] += 1
        if counts:
            left = DISCOUNT * len(counts)
            found = [
                (max(counts[s] - DISCOUNT, 0) + left * found[s]) / counts.total()
                for s in range(SYMBOLS)
            ]
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 4, 8])
def test_it_is_its_definition(order: int) -> None:
    wanted = [by_definition(TRAIN.tolist(), TEXT.tolist(), at, order) for at in WHOLE]
    assert_allclose(
        next_token_probabilities(TRAIN, TEXT, WHOLE, SYMBOLS, order), wanted, rtol=1e-12
    )


def test_how_often_symbols_are_there_is_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.ngram.BLOCK", 7)
    assert token_counts(TRAIN, SYMBOLS).tolist() == [list(TRAIN).count(n) for n in range(SYMBOLS)]
    test_it_is_its_definition(1)
    assert_allclose(token_nll(TRAIN[:0], TEXT, WHOLE, SYMBOLS, 1), math.log(SYMBOLS), rtol=1e-12)


def test_the_chances_of_all_symbols_are_one_and_none_is_zero() -> None:
    found = next_token_probabilities(TRAIN, TEXT, WHOLE, SYMBOLS)
    assert_allclose(found.sum(1), 1, rtol=1e-12)
    assert found.min() > 0


def test_a_cost_is_that_of_the_true_character_wherever_it_is_asked() -> None:
    found = token_nll(TRAIN, TEXT, WHOLE, SYMBOLS)
    assert_allclose(
        found,
        -np.log(next_token_probabilities(TRAIN, TEXT, WHOLE, SYMBOLS)[WHOLE, TEXT]),
        rtol=1e-12,
    )
    some = np.array([119, 3, 60, 61, 0])  # what else is asked changes nothing
    assert_allclose(token_nll(TRAIN, TEXT, some, SYMBOLS), found[some], rtol=1e-12)


def test_it_comes_near_the_entropy_of_a_text_that_an_n_gram_has_made() -> None:
    """The next symbol is the one after this, and with 0.2 any of four: 0.8476 bits, not 2."""
    draw = np.random.default_rng(1)
    steps = np.where(draw.random(60_000) < 0.8, 1, draw.integers(0, 4, 60_000))
    ids = (np.cumsum(steps) % 4).astype(np.uint8)
    entropy = -(0.85 * math.log2(0.85) + 3 * 0.05 * math.log2(0.05))
    for order, bits in ((1, 2.0), (2, entropy), (3, entropy)):
        found = token_nll(
            ids[:50_000], ids[50_000:], np.arange(10_000), 4, order
        ).mean() / math.log(2)
        assert found == pytest.approx(bits, rel=0.02), order


def test_every_order_at_once_is_each_on_its_own() -> None:
    for text in (TEXT, TEXT[:3]):  # the second is shorter than a context
        at = np.arange(len(text))
        for order, nats in enumerate(token_nll_by_order(TRAIN, text, at, SYMBOLS), start=1):
            assert_allclose(nats, token_nll(TRAIN, text, at, SYMBOLS, order), rtol=1e-12)
