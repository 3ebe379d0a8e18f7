"""Longest verbatim matches: equal to a search for every substring."""

import random

import numpy as np
import pytest

from charlm.evaluation import verbatim
from charlm.evaluation.verbatim import covered_mask, first_occurrence, longest_matches


def search(text: list[int], train: list[int]) -> list[int]:
    """Return the length of the longest match that ends at each token, by trying all."""
    whole = bytes(train)
    return [
        max(size for size in range(end + 1) if bytes(text[end - size : end]) in whole)
        for end in range(1, len(text) + 1)
    ]


def test_matches_equal_a_search_for_every_substring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also across the places where one walker ends and the next begins."""
    rng = random.Random(0)
    for _ in range(300):
        tokens = rng.choice([1, 2, 3, 6])
        monkeypatch.setattr(verbatim, "WALKERS", rng.choice([1, 2, 5, 20]))
        monkeypatch.setattr(verbatim, "MIN_STEPS", rng.choice([1, 2, 4]))
        monkeypatch.setattr(verbatim, "STEPS_AT_ONCE", rng.choice([1, 3, 8]))
        monkeypatch.setattr(verbatim, "MAX_ENTRIES", rng.choice([1, 60, 1 << 20]))
        train = [rng.randrange(tokens) for _ in range(rng.randrange(60))]
        texts = [
            [rng.randrange(tokens + 1) for _ in range(rng.randrange(14))]
            for _ in range(rng.randrange(4))
        ]
        if train and texts:
            start = rng.randrange(len(train))
            texts[0] = train[start : start + 20]
        read = []
        found = longest_matches(texts, np.array(train, np.uint8), read.append)
        assert [one.tolist() for one in found] == [search(text, train) for text in texts]


def test_long_match_is_found_in_a_long_text() -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(0, 50, 300_000).astype(np.uint16)
    copied = train[150_000:153_000].tolist()
    text = [50, *copied, 50]
    (lengths,) = longest_matches([text], train)
    assert lengths.max() == 3000 and lengths.argmax() == 3000 and lengths[0] == lengths[-1] == 0
    assert first_occurrence(np.array(copied, np.uint16), train) == 150_000
    assert covered_mask(lengths, 20).tolist() == [False, *[True] * 3000, False]
    assert not covered_mask(lengths, 3001).any()


def test_first_occurrence_is_at_a_token_not_within_one() -> None:
    train = np.array([0x0102, 0x0201, 0x0102], np.uint16)
    assert first_occurrence(np.array([0x0201], np.uint16), train) == 1
    assert first_occurrence(np.array([0x0102], np.uint16), train) == 0
    assert first_occurrence(np.array([7], np.uint16), train) == -1


def test_overlapping_matches_cover_a_token_once() -> None:
    lengths = np.array([1, 2, 3, 1, 2, 1], np.int32)
    assert covered_mask(lengths, 2).tolist() == [True] * 5 + [False]
    assert covered_mask(lengths, 3).tolist() == [True] * 3 + [False] * 3
