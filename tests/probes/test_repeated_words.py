"""Repeated words, on models whose memory is known exactly."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
from known_memory import (
    make_context,
    recalled_token,
    text_with_repeated_words,
    token_back,
)

from charlm.data.vocabulary import ids_to_text
from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.probes.rare_words import find_repeated_words
from charlm.probes.repeated_words import repeated_words
from charlm.results.probe_limits import NoRepeatedWords, TextTooShort

TEXT = text_with_repeated_words([69, 149], 32)
SIZE = 10


def cache_context(memory: int, text: str = TEXT) -> ProbeContext:
    """A model that recalls what followed the last four characters, if it was read not too long ago.

    At the fourth letter, after a space and three others, it knows a word again.
    """
    return make_context((memory, recalled_token), text, "abcd efgh " * 100, units=4)


def test_events_are_words_that_come_again_at_the_given_distance() -> None:
    context = cache_context(10)
    words = find_repeated_words(context)
    assert len(words.first) == 32 and set(words.size) == {SIZE}
    assert (words.second - words.first - SIZE).tolist() == [69, 149] * 16
    text = ids_to_text(context.ids, context.vocabulary)
    for first, second, other in zip(words.first, words.second, words.other, strict=True):
        word, swapped = text[first : first + SIZE], text[other : other + SIZE]
        assert word == text[second : second + SIZE] != swapped and swapped.isalpha()
        assert swapped not in text[max(0, first - 1000) : second + SIZE]


def test_cache_saves_the_letters_that_it_recalls_up_to_its_distance() -> None:
    """The last seven letters are known for sure; without an idea one costs log2 of all tokens.

    A letter that it is wrongly sure of costs 72 bits, which happens by chance once or twice.
    """
    saved = (SIZE - 3) * math.log2(cache_context(1).vocabulary.size)
    for memory, found in ((200, 32), (100, 16)):
        output = repeated_words(cache_context(memory))
        sums, counts = (output.artifacts[name][0].numpy() for name in ("sums", "counts"))
        assert counts.sum() == 32 and sums.shape == (4,)
        assert sums.sum() == pytest.approx(found * saved, abs=2.5 * 72)
        assert output.result.numbers[0].value == pytest.approx(sums.sum() / 32)
    profile, (value, otherwise) = output.result.profile, output.result.numbers
    assert profile is not None and profile.aspect == "looks up"
    assert (profile.value, profile.ceiling) == (value.value, otherwise.value)
    curve = output.result.curves[0]
    assert curve.x == pytest.approx([69, 149]) and curve.count == [16, 16]
    assert curve.y[0] == pytest.approx(saved, rel=0.2) and curve.y[1] == 0


def test_model_without_memory_saves_exactly_nothing() -> None:
    """It sees the last character alone, and is sometimes wrong."""
    context = make_context((1, partial(token_back, 1)), TEXT, "abcd")
    output = repeated_words(context)
    assert output.artifacts["sums"].tolist() == [[0.0] * 5]
    cost = output.result.numbers[1].value
    assert cost is not None and cost > 1


def test_words_of_the_training_text_are_not_rare() -> None:
    context = cache_context(10)
    frequent = dataclasses.replace(context, train_ids=context.ids)
    assert len(find_repeated_words(frequent).first) == 0
    with pytest.raises(ProbeNotApplicableError) as error:
        repeated_words(frequent)
    assert error.value.reason == NoRepeatedWords(0, 30, 64, 1024)
    short = dataclasses.replace(context, ids=context.ids[:2000])
    with pytest.raises(ProbeNotApplicableError) as error:
        repeated_words(short)
    assert error.value.reason == TextTooShort("probed", 2000, 2048)


def test_earlier_occurrence_is_the_only_one_in_reach_and_in_the_same_file() -> None:
    rest = " ".join("uvw" for _ in range(30))  # 119 characters
    text = f"zebras {rest} {rest} zebras {rest} zebras " + f"{rest} " * 20 + "zebras giraffe"
    context = make_context((1, partial(token_back, 1)), text + " walrus monkey", "a", units=1)
    second = text.index("zebras", 1)
    # The third has two in reach; the fourth is too far away from any.
    words = find_repeated_words(context)
    assert words.second.tolist() == [second] and words.first.tolist() == [0]
    assert ids_to_text(context.ids[words.other[0] :][:6], context.vocabulary) in "walrus monkey"
    in_files = dataclasses.replace(
        context, unit_kind="file", unit_edges=np.array([0, 100, len(context.ids)])
    )
    assert len(find_repeated_words(in_files).first) == 0


def test_events_are_the_same_for_all_models() -> None:
    first, other = cache_context(10), cache_context(300)
    for mine, yours in zip(
        dataclasses.astuple(find_repeated_words(first)),
        dataclasses.astuple(find_repeated_words(other)),
        strict=True,
    ):
        assert (mine == yours).all()
