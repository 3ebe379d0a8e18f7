"""Closing delimiters, on models whose memory is known exactly."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch
from known_memory import (
    context_with_memory,
    curve_values,
    make_context,
    text_of_names,
    token_back,
)
from numpy.testing import assert_allclose
from torch import Tensor

from charlm.probes.base import ProbeNotApplicableError
from charlm.probes.closing_delimiters import bin_by_distance, closing_delimiters


def last_opener(history: Tensor) -> Tensor:
    """Expect ) if the last remembered bracket is (; ids of the vocabulary " ()a"."""
    bracket = torch.where((history == 1) | (history == 2), torch.arange(history.shape[1]), -1)
    last = bracket.argmax(1)
    is_open = history[torch.arange(len(history)), last] == 1
    return torch.where(is_open, 2, -1)


def test_closing_delimiters_find_memory_of_30_characters() -> None:
    distances = np.random.default_rng(0).permutation(np.tile(np.arange(2, 51), 4))
    text = "".join("(" + "a" * (distance - 1) + ") " for distance in distances)
    context = make_context((30, last_opener), text, text[:3000])
    assert context.vocabulary.tokens == tuple(map(ord, " ()a"))
    output = closing_delimiters(context, min_events=40)
    bits = output.result
    (accuracy,) = bits.panels
    assert (bits.title, bits.y, accuracy.y) == ("brackets", "bits per closer", "top-1 accuracy")
    assert accuracy.curves[0].count == [14 * 4, 16 * 4, 19 * 4]  # 8 to 15 are only 32
    assert_allclose(accuracy.curves[0].y, [1, 15 / 16, 0], atol=1e-12)
    assert_allclose(curve_values(output), [0, math.log2(5) / 16, math.log2(5)], atol=1e-9)
    assert accuracy.curves[1].name == "n-gram" and accuracy.curves[1].y[-1] < 0.01
    assert bits.notes == [
        "quotation marks not shown: 0 in the text",
        "blocks not shown: 0 in the text",
    ]
    hits, saved = bits.numbers
    assert hits.value == pytest.approx(29 / 49) and hits.unit == "of 196"
    assert saved.value is not None and saved.value > 1


def test_block_closes_where_indentation_ends() -> None:
    """The fake expects a space after any space: it never ends an indentation by itself."""
    text = "if a:\n    b\n  c\nd\n" * 100

    def more_space(history: Tensor) -> Tensor:
        space = torch.tensor(sorted(set(text)).index(" "))
        return torch.where(history[:, -1] == space, space, -1)

    output = closing_delimiters(make_context((1, more_space), text, text), min_events=100)
    (accuracy,) = output.result.panels
    assert output.result.title == "blocks"
    assert accuracy.curves[0].x == pytest.approx([14, 16])
    assert accuracy.curves[0].count == [100, 100]
    # c follows a space; d follows the end of a line, where the fake has no idea.
    vocabulary_size = len(set(text)) + 1
    line_end = -math.log2((vocabulary_size - 1) / vocabulary_size)
    space = 50 / math.log(2) - math.log2(vocabulary_size - 1)
    assert_allclose(curve_values(output), [space, line_end], rtol=1e-6)
    assert_allclose(accuracy.curves[0].y, [0, 1])


def test_closing_delimiters_do_not_apply_to_text_with_too_few() -> None:
    with pytest.raises(
        ProbeNotApplicableError, match="closes 0 brackets, 0 quotation marks, 0 blocks, but 200 of"
    ):
        closing_delimiters(context_with_memory(20))
    with pytest.raises(
        ProbeNotApplicableError, match="closes 2 brackets, 0 quotation marks, 0 blocks"
    ):
        closing_delimiters(make_context((1, partial(token_back, 1)), "(a) [b]", "(a)"))


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


@pytest.mark.slow
def test_ngram_counts_end_of_long_training_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "(a) [b] " * 300
    context = make_context((1, partial(token_back, 1)), text, text_of_names(3000) + text)
    end_only = dataclasses.replace(context, train_ids=context.train_ids[-1000:])
    end_result = closing_delimiters(end_only, min_events=20).result
    whole_result = closing_delimiters(context, min_events=20).result
    monkeypatch.setattr("charlm.evaluation.ngram.MAX_TRAINING_TOKENS", 1000)
    result = closing_delimiters(context, min_events=20).result
    assert result.curves == end_result.curves != whole_result.curves
    note = "n-gram: last 1,000 characters of the training text only"
    assert note in result.notes and note not in whole_result.notes
