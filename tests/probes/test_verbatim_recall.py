"""Verbatim recall, on models whose memory is known exactly."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from known_memory import (
    FakeModel,
    State,
    curve_values,
    make_context,
    text_of_names,
    token_back,
)
from numpy.testing import assert_allclose
from torch import Tensor

from charlm.data.vocabulary import ids_to_text
from charlm.probes.base import ProbeNotApplicableError
from charlm.probes.verbatim_recall import ratio_with_error, verbatim_recall
from charlm.results.probe_limits import (
    NoSeparator,
    NotApplicableReason,
    TextTooShort,
    TooFewLetters,
)


def test_verbatim_recall_finds_memory_at_one_distance() -> None:
    """From a name to its repetition: the list, 40 characters, the separator, 2, and the filler."""
    text = text_of_names(4000)

    def letter_back(distance: int, history: Tensor) -> Tensor:
        """No idea of commas and spaces, ids 1 and 0: they do not count."""
        token = token_back(distance, history)
        return torch.where(token > 1, token, -1)

    def recall(memory: int) -> tuple[list[np.ndarray], list[float | None], float | None]:
        context = make_context((memory, partial(letter_back, 106)), text, text)
        output = verbatim_recall(context, filler_lengths=[16, 64, 256])
        curves = [curve_values(output, curve) for curve in range(3)]
        return curves, [number.value for number in output.result.numbers], output.result.chance

    (same, first_of_them, other), numbers, chance = recall(106)
    assert same[1] < 1e-6 and first_of_them[1] < 1e-6
    assert (same[[0, 2]] > 5).all()  # the fake is sure, and wrong
    assert (other > 5).all()
    assert numbers[1] == same[1] and chance == 1
    assert_allclose(recall(105)[0], 1, rtol=1e-9)


def test_names_are_unseen_and_control_was_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has many of all names of three letters."""
    monkeypatch.setattr("charlm.probes.verbatim_recall.NAME_LENGTH", 3)
    text = text_of_names(4000)
    context = make_context((1, partial(token_back, 1)), text, text)
    scored_texts: list[str] = []

    class RecordingModel(FakeModel):
        def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
            scored_texts.extend(ids_to_text(stream.numpy(), context.vocabulary) for stream in ids.T)
            return super().__call__(ids, state)

    constant = RecordingModel(
        context.vocabulary.size, 1, lambda history: torch.full(history.shape[:1], 20)
    )
    context = dataclasses.replace(context, model=constant)
    result = verbatim_recall(context, filler_lengths=[16], num_lists=10).result
    lists = [scored.split(", ")[1:] for scored in scored_texts]
    assert len(lists) == 30 and lists[:10] == lists[10:20] == [*lists[21:], lists[20]]
    names = {name for names in lists for name in names}
    assert len(names) == 50
    for name in names:
        assert len(name) == 3 and name.istitle() and name not in text and set(name) <= set(text)
    # A constant prediction costs the same for a list anywhere: each is compared with itself.
    assert [curve.name for curve in result.curves][2] == "other names"
    for curve in result.curves:
        assert curve.y == [1] and curve.error == [pytest.approx(0, abs=1e-12)]


def test_ratio_error_is_its_standard_deviation() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(100, 20, (2000, 50))
    second = 0.7 * first + rng.normal(0, 10, (2000, 50))
    results = np.array([ratio_with_error(*pair) for pair in zip(second, first, strict=True)])
    assert results[:, 0].mean() == pytest.approx(0.7, abs=0.001)
    assert results[:, 1].mean() == pytest.approx(results[:, 0].std(), rel=0.05)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0123456789, " * 300, TooFewLetters(0, 10)),
        ("Abcdefghi, " * 300, TooFewLetters(8, 10)),  # and a capital
        (text_of_names(4000).replace(",", ";"), NoSeparator()),
        (text_of_names(505)[:495], TextTooShort("training", 495, 1024)),
    ],
)
def test_verbatim_recall_needs_letters_commas_and_text(
    text: str, reason: NotApplicableReason
) -> None:
    with pytest.raises(ProbeNotApplicableError) as error:
        verbatim_recall(make_context((1, partial(token_back, 1)), text, text))
    assert error.value.reason == reason
