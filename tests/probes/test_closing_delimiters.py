"""Closing delimiters, on models whose memory is known exactly."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from known_memory import FakeModel, State, make_context, text_of_names, token_back
from numpy.testing import assert_allclose
from torch import Tensor

from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.probes.closing_delimiters import bin_by_distance, closing_delimiters, share_below
from charlm.results.probe_limits import CountedAtEnd, TooFewClosers

KINDS = ("()", "[]", "()")  # round ones are twice as frequent


def bracketed_text(distances: list[int]) -> str:
    """Brackets of these distances, after words without any."""
    parts = []
    for number, distance in enumerate(distances):
        opener, closer = KINDS[number % 3]
        parts.append(f"{opener}{'a' * (distance - 1)}{closer}{' b' * 40}")
    return "".join(parts)


def last_opener(history: Tensor) -> Tensor:
    """Expect the closer of the last remembered opener; ids of the vocabulary " ()[]ab"."""
    is_opener = (history == 1) | (history == 3)
    is_bracket = is_opener | (history == 2) | (history == 4)
    last = torch.where(is_bracket, torch.arange(history.shape[1]), -1).argmax(1)
    token = history.gather(1, last[:, None])[:, 0]
    is_open = is_opener.gather(1, last[:, None])[:, 0]
    return torch.where(is_open, token + 1, -1)


def bracket_context(memory: int = 30) -> ProbeContext:
    distances = np.random.default_rng(0).permutation(np.tile(np.arange(4, 52, 2), 3)).tolist()
    text = bracketed_text(distances)
    context = make_context((memory, last_opener), text, text[:3000])
    assert context.vocabulary.tokens == tuple(map(ord, " ()[]ab"))
    return context


def test_bracket_is_known_up_to_the_distance_of_the_memory() -> None:
    result = closing_delimiters(bracket_context(), min_events=30).result
    choice, ngram, base_rate = result.curves
    (detection,) = result.panels
    assert (choice.name, ngram.name, base_rate.name) == ("", "n-gram", "most frequent closer")
    assert choice.count is not None and sum(choice.count) == 72
    # Within memory every bracket is known; beyond, the first of equal closers is chosen.
    near, *_, far = choice.y
    assert near == 1 and far is not None and far < 0.75
    assert detection.curves[0].y[0] == pytest.approx(1)
    assert detection.curves[0].y[-1] is not None and detection.curves[0].y[-1] < 0.6
    assert all(y is not None and 0.5 <= y < 0.85 for y in base_rate.y)
    right, found = result.numbers
    assert right.base_rate == pytest.approx(2 / 3) and found.base_rate == 0.5
    assert right.unit == "of 72"


class Shifted(FakeModel):
    """Adds a constant to the logits of all closing brackets."""

    def __init__(self, model: FakeModel, constant: float) -> None:
        super().__init__(model.vocabulary_size, model.memory, model.guess)
        self.shift = torch.zeros(model.vocabulary_size)
        self.shift[[2, 4]] = constant

    def next_token_logits(self, state: State) -> Tensor:
        return super().next_token_logits(state) / 10 + self.shift


def test_constant_on_the_logits_of_closers_changes_nothing() -> None:
    context = bracket_context()
    assert isinstance(context.model, FakeModel)
    results = [
        closing_delimiters(
            dataclasses.replace(context, model=Shifted(context.model, constant)), min_events=40
        ).result
        for constant in (0.0, 3.0)
    ]
    for first, second in zip(
        (results[0], *results[0].panels), (results[1], *results[1].panels), strict=True
    ):
        assert_allclose(first.curves[0].y, second.curves[0].y, rtol=1e-12)
    assert results[0].numbers[0].value == pytest.approx(results[1].numbers[0].value)


def test_text_that_is_one_large_bracket_has_no_figure_of_whether_one_is_open() -> None:
    """A bracket stands within 64 characters of every place."""
    text = "(a) [b] " * 30
    context = make_context((1, partial(token_back, 1)), text, text)
    result = closing_delimiters(context, min_events=20).result
    assert not result.panels
    assert [number.name for number in result.numbers] == ["which bracket is closed"]


def test_pairs_with_equal_odds_count_half() -> None:
    shares = share_below(np.array([0.0, 1.0, 1.0, 2.0]), np.array([-1.0, 1.0, 3.0]))
    assert shares.tolist() == [0, 0.5, 1]


def test_closing_delimiters_do_not_apply_to_text_with_too_few() -> None:
    with pytest.raises(ProbeNotApplicableError) as error:
        closing_delimiters(make_context((1, partial(token_back, 1)), "(a) [b]", "(a)"))
    assert error.value.reason == TooFewClosers(2, 200)


def test_distance_bins_have_enough_events() -> None:
    distance = np.repeat([1, 2, 4, 8, 16, 32, 64], [90, 500, 30, 190, 210, 150, 60])
    bins = bin_by_distance(distance, 200)
    assert [sorted(set(distance[events].tolist())) for events in bins] == [
        [1, 2],
        [4, 8],
        [16],
        [32, 64],
    ]
    assert sum(len(events) for events in bins) == len(distance)


def test_ngram_counts_end_of_long_training_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "(a) [b] " * 30
    context = make_context((1, partial(token_back, 1)), text, text_of_names(3000) + text)
    monkeypatch.setattr("charlm.evaluation.ngram.MAX_TRAINING_TOKENS", 1000)
    result = closing_delimiters(context, min_events=20).result
    assert result.notes == [CountedAtEnd("n-grams", 1000)]
    end_only = dataclasses.replace(context, train_ids=context.train_ids[-1000:])
    end_result = closing_delimiters(end_only, min_events=20).result
    assert result.curves == end_result.curves and end_result.notes == []
