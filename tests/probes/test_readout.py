"""Linear readout of the state, on models that hold an exactly known number of characters."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from known_memory import FakeModel, State, curve_values, make_context, token_back
from torch import Tensor
from torch.nn.functional import one_hot

from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.probes.linear_readout import alternate_halves, bits_found, standardize
from charlm.probes.readout import MAX_CLASSES, MAX_FEATURES, frequent_classes, readout
from charlm.results.probe_limits import Projected, TextTooShort

LETTERS = "abcdefgh"
DISTANCES = (1, 16, 20, 21, 40)


class RingBuffer(FakeModel):
    """Holds the last tokens as units that are 1 for the token and else 0."""

    def encode(self, state: State) -> State:
        history = state[0][0]
        units = one_hot(history.clamp(min=0), self.vocabulary_size) * (history >= 0)[..., None]
        return ((units.float(),),)

    def decode(self, state: State) -> State:
        units = state[0][0]
        return ((torch.where(units.any(-1), units.argmax(-1), -1),),)

    def initial_state(self, batch: int) -> State:
        return self.encode(super().initial_state(batch))

    def next_token_logits(self, state: State) -> Tensor:
        is_decoded = state[0][0].dim() == 2
        return super().next_token_logits(state if is_decoded else self.decode(state))

    def advance(self, ids: Tensor, state: State) -> State:
        return self.encode(super().advance(ids, self.decode(state)))

    def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = super().__call__(ids, self.decode(state))
        return logits, self.encode(after)


def ring_context(memory: int, length: int = 8192) -> ProbeContext:
    """It expects the character 20 back, in a text of independent letters."""
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), length))
    context = make_context((memory, partial(token_back, 20)), text, "a")
    model = RingBuffer(context.vocabulary.size, memory, partial(token_back, 20))
    return dataclasses.replace(context, model=model)


def test_state_holds_what_the_buffer_does_and_the_prediction_what_it_uses() -> None:
    output = readout(ring_context(20), distances=DISTANCES, num_places=2048)
    result = output.result
    assert result.ceiling == pytest.approx(3, abs=0.01)  # eight equally frequent letters
    names = [curve.name for curve in result.curves]
    assert names == ["state", "prediction", "last character"]
    state, prediction, last = (curve_values(output, index) for index in range(3))
    assert state == pytest.approx([3, 3, 3, 0, 0], abs=0.1)
    assert prediction == pytest.approx([0, 0, 3, 0, 0], abs=0.1)
    assert last == pytest.approx([3, 0, 0, 0, 0], abs=0.1)
    assert result.numbers[0].name == "in the state, 1 back"
    assert result.numbers[0].value == state[0] and result.notes == []
    assert result.profile is not None and result.profile.aspect == "holds"
    assert (result.profile.value, result.profile.ceiling) == (state[1], result.ceiling)


def test_large_state_is_projected_and_stays_readable() -> None:
    context = ring_context(80)  # of 9 units each, as the vocabulary has an unknown character
    output = readout(context, distances=(1, 100), num_places=2048)
    held, lost = curve_values(output)
    assert held > 1 and lost == pytest.approx(0, abs=0.1)
    numbers = 80 * context.vocabulary.size
    assert output.result.notes == [Projected(numbers, MAX_FEATURES)]
    assert curve_values(readout(context, distances=(1, 100), num_places=2048))[0] == held


def test_bits_of_a_noisy_channel_are_its_information() -> None:
    """Eight letters are read right in 80 % of places, and else any of the others."""
    rng = np.random.default_rng(1)
    classes = rng.integers(8, size=20_000)
    read = np.where(rng.random(20_000) < 0.8, classes, (classes + rng.integers(1, 8, 20_000)) % 8)
    halves = alternate_halves(np.arange(20_000), 20_000)
    features = standardize(one_hot(torch.from_numpy(read)).float(), halves)
    found = bits_found(features, torch.from_numpy(classes), 8, halves)
    information = 3 + 0.8 * np.log2(0.8) + 0.2 * np.log2(0.2 / 7)
    assert found.mean() == pytest.approx(information, abs=0.03)
    assert len(found) == halves.score.sum()


def test_features_that_tell_nothing_give_no_bits() -> None:
    """Not fewer either: 300 features of 4,000 places are not fit to noise."""
    rng = np.random.default_rng(2)
    halves = alternate_halves(np.arange(8000), 8000)
    features = torch.from_numpy(rng.standard_normal((8000, 300)).astype(np.float32))
    classes = torch.from_numpy(rng.integers(20, size=8000))
    found = bits_found(standardize(features, halves), classes, 20, halves)
    assert abs(found.mean()) < 0.02


def test_halves_alternate_and_are_apart() -> None:
    halves = alternate_halves(np.arange(4096), 4096)
    together = np.stack(halves).sum(0)
    assert (together == 1).all() and halves.score.mean() == 0.5
    assert [bool(halves.score[n * 512]) for n in range(8)] == [False, True] * 4
    assert halves.test.mean() == 0.125


def test_rare_characters_share_a_class() -> None:
    ids = np.repeat(np.arange(200), np.arange(200, 0, -1))
    classes, num_classes = frequent_classes(ids)
    assert num_classes == MAX_CLASSES and classes[0] == 0
    assert set(classes[ids >= MAX_CLASSES - 1]) == {MAX_CLASSES - 1}
    assert frequent_classes(np.array([5, 5, 2]))[0].tolist() == [0, 0, 1]


def test_short_text_does_not_apply() -> None:
    with pytest.raises(ProbeNotApplicableError) as error:
        readout(ring_context(20, length=2047))
    assert error.value.reason == TextTooShort("probed", 2047, 2048)
