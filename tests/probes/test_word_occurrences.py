"""Rare words by occurrence, on models whose memory is known exactly."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
from known_memory import (
    FakeModel,
    make_context,
    recalled_token,
    text_with_repeated_words,
    token_back,
)

from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.probes.word_occurrences import OCCURRENCES, find_occurrences, word_occurrences
from charlm.results.probe_limits import NoRepeatedWords, TextTooShort
from charlm.results.probes import ProbeResult

TEXT = text_with_repeated_words([69, 149], 48)
LETTERS = 9  # after the first one of ten
TRAIN = "abcd efgh " * 100


def cache_context(memory: int, text: str = TEXT, units: int = 4) -> ProbeContext:
    """A model that recalls what followed the last four characters, if it is not too long ago.

    At the fourth letter, after a space and three others, it knows a word again.
    """
    return make_context((memory, recalled_token), text, TRAIN, units=units)


def values(result: ProbeResult, panel: int, curve: int = 0) -> list[float | None]:
    return list((result, *result.panels)[panel].curves[curve].y)


def test_cache_saves_the_letters_that_it_recalls_at_its_distance() -> None:
    """It knows seven of nine letters again; a letter that it is wrongly sure of costs 72 bits."""
    context = cache_context(200)
    result = word_occurrences(context).result
    ignorance = math.log2(context.vocabulary.size)
    first, second, third, later = values(result, 0)
    wrong = 72 / LETTERS / 48  # by chance, at a word
    assert first == pytest.approx(ignorance, abs=4 * wrong)
    assert second == pytest.approx(ignorance * 2 / LETTERS, abs=4 * wrong)
    assert third is None and later is None
    assert result.panels[0].curves[0].x == [64, 128, 256, 512, 1024, 2048]
    _, at_69, at_149, *others = values(result, 1)
    assert [at_69, at_149] == pytest.approx([ignorance * 7 / LETTERS] * 2, abs=8 * wrong)
    assert others == [None] * 3
    near = word_occurrences(cache_context(100)).result
    assert values(near, 1)[1] == pytest.approx(at_69, abs=8 * wrong)
    assert values(near, 1)[2] == pytest.approx(0, abs=8 * wrong)


def test_occurrences_are_numbered_and_compared_with_the_first_of_the_same_word() -> None:
    rng = np.random.default_rng(0)
    passages = []
    for word in ("".join(rng.choice(list("abcdefghijklmnopqrst"), 10)) for _ in range(24)):
        passages += [f"{word} uvw xyz "] * 5
    context = cache_context(60, "".join(passages), units=6)
    words = find_occurrences(context)
    assert words.number.tolist() == [1, 2, 3, 4, 4] * 24
    assert words.distance.tolist() == [0, 9, 9, 9, 9] * 24
    assert words.first.tolist() == [word * 5 for word in range(24) for _ in range(5)]
    result = word_occurrences(context).result
    first, *again = values(result, 0)
    assert again == pytest.approx([0] * 3, abs=0.1)  # it knows the words in between, too
    assert [number.name for number in result.numbers] == [
        "cost of a first occurrence",
        "saved at the 2nd",
        "saved at the 3rd",
        "saved at the 4th or later",
    ]
    savings = [number.value for number in result.numbers[1:]]
    assert savings == pytest.approx([first - cost for cost in again])


def test_model_and_ngram_without_memory_save_nothing() -> None:
    """Neither sees the last time that a word was read."""
    context = cache_context(1)
    model = FakeModel(context.vocabulary.size, 1, partial(token_back, 2))
    result = word_occurrences(dataclasses.replace(context, model=model)).result
    saved = result.numbers[1]
    assert saved.value == pytest.approx(0, abs=1e-9)
    assert saved.base_rate == pytest.approx(0, abs=0.05)
    assert values(result, 1, curve=1)[1] == pytest.approx(0, abs=0.1)


def test_word_beyond_the_context_or_in_another_file_is_no_later_occurrence() -> None:
    filler = "uvw " * 600
    context = cache_context(1, f"zebras {filler}zebras giraffe zebras", units=1)
    words = find_occurrences(context)
    assert words.number.tolist() == [1, 1, 3]  # the second one is too far from the first
    edge = context.ids.size - 6
    in_files = dataclasses.replace(
        context, unit_kind="file", unit_edges=np.array([0, edge, context.ids.size])
    )
    assert find_occurrences(in_files).number.tolist() == [1, 1, 1]
    assert len(OCCURRENCES) == 4


def test_text_without_words_that_come_again_does_not_apply() -> None:
    context = cache_context(1, "uvw " * 600)
    with pytest.raises(ProbeNotApplicableError) as error:
        word_occurrences(context)
    assert error.value.reason == NoRepeatedWords(0, 30, 1, 2048)
    with pytest.raises(ProbeNotApplicableError) as error:
        word_occurrences(dataclasses.replace(context, ids=context.ids[:2047]))
    assert error.value.reason == TextTooShort("probed", 2047, 2048)
