"""Position since a fresh start, on models whose memory and failure are known exactly."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch
from known_cells import VOCABULARY, curve, model_of, number, random_context
from known_memory import FakeModel, State, cyclic_text, make_context, token_back
from torch import Tensor, nn

from charlm.cells.linear_cell import LinearCell
from charlm.config import validate_config
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext, ProbeNotApplicableError
from charlm.probes.position import breakdown, position, position_edges
from charlm.probes.unit_sums import UnitSums
from charlm.results.probe_limits import TextTooShort

WINDOW = 32


class FailingModel(FakeModel):
    """Remembers the last tokens until it has read `limit`, and has no idea from then on."""

    limit = 256

    def initial_state(self, batch: int) -> State:
        return (*super().initial_state(batch), (torch.zeros(batch, 1),))

    def next_token_logits(self, state: State) -> Tensor:
        logits = super().next_token_logits(state)
        return logits if len(state) == 1 else logits * (state[1][0] < self.limit)

    def advance(self, ids: Tensor, state: State) -> State:
        return (*super().advance(ids, state[:1]), (state[1][0] + len(ids),))

    def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = super().__call__(ids, state[:1])
        read = state[1][0] + torch.arange(1, len(ids) + 1)[:, None, None]
        return logits * (read < self.limit), (*after, (state[1][0] + len(ids),))


def context_of(kind: type[FakeModel], repetitions: int = 250) -> ProbeContext:
    """It expects the character 20 back, in a text where that is always right."""
    context = make_context((20, partial(token_back, 20)), cyclic_text(0, repetitions), "a")
    model = kind(context.vocabulary.size, 20, partial(token_back, 20))
    return dataclasses.replace(context, model=model, window=WINDOW)


def test_bits_since_a_fresh_start_are_those_of_a_memory_of_20_characters() -> None:
    context = context_of(FakeModel)
    result = position(context).result
    ignorance = math.log2(context.vocabulary.size)
    lost = result.curves[0]
    assert lost.x == position_edges(WINDOW, 64 * WINDOW)[1:]
    assert lost.x[:6] == [1, 2, 4, 8, 16, 32] and lost.x[-1] == 2048
    assert lost.y[:5] == pytest.approx([ignorance] * 5)
    assert lost.y[5] == pytest.approx(ignorance * 4 / 16) and set(lost.y[6:]) == {0}
    assert result.panels[0].curves[0].y == pytest.approx(lost.y, abs=1e-9)
    assert number(result, "lost in the first window").value == pytest.approx(ignorance * 20 / 32)
    assert number(result, "lost in mid-text").value == 0
    assert number(result, "lost after 32 to 64 windows").value == 0
    fails = number(result, "fails after")
    assert fails.value is None and fails.lower_bound == 2048
    assert result.profile is not None
    assert result.profile.value == result.profile.ceiling == 0
    frequencies = np.bincount(context.ids) / len(context.ids)
    entropy = -(frequencies[frequencies > 0] * np.log2(frequencies[frequencies > 0])).sum()
    assert result.profile.chance == pytest.approx(entropy)  # the control costs nothing


def test_failure_beyond_the_window_is_found_where_it_is() -> None:
    context = context_of(FailingModel)
    result = position(context).result
    ignorance = math.log2(context.vocabulary.size)
    by_end = dict(zip(result.curves[0].x, result.curves[0].y, strict=True))
    assert by_end[256] == 0
    assert [by_end[512], by_end[2048]] == pytest.approx([ignorance] * 2)
    assert number(result, "fails after").value == 256
    assert number(result, "lost after 32 to 64 windows").value == pytest.approx(ignorance)
    assert number(result, "lost in mid-text").value > 0.9 * ignorance
    assert result.profile is not None and result.profile.value == pytest.approx(ignorance)


class RecoveringModel(FailingModel):
    """Has no idea between 256 and 512 tokens, and remembers again from then on."""

    def __call__(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = FakeModel.__call__(self, ids, state[:1])
        read = state[1][0] + torch.arange(1, len(ids) + 1)[:, None, None]
        is_lost = (read >= self.limit) & (read < 2 * self.limit)
        return logits * ~is_lost, (*after, (state[1][0] + len(ids),))


def test_model_that_recovers_has_not_failed() -> None:
    result = position(context_of(RecoveringModel)).result
    by_end = dict(zip(result.curves[0].x, result.curves[0].y, strict=True))
    assert by_end[512] > 1 and by_end[1024] == pytest.approx(0, abs=0.1)
    fails = number(result, "fails after")
    assert fails.value is None and fails.lower_bound == 2048


def failure(excess: list[float], units: list[int]) -> tuple[float | None, float | None]:
    """Value and bound by the excess over 2 bits, and its units, up to 128, 256, ... characters."""
    lengths = tuple(128 << n for n in range(len(excess)))
    counts = (np.arange(8) < np.array(units)[:, None]).astype(float)
    more = np.array(excess)[:, None] * counts
    sums = UnitSums(lengths, more, counts), UnitSums(lengths, more + 2 * counts, counts)
    result = breakdown(*sums, 128, "characters")
    return result.value, result.lower_bound


@pytest.mark.parametrize(
    ("excess", "units", "value", "bound"),
    [
        ([0, 3, 3, 3], [8, 8, 8, 8], 128, None),
        ([0, 3, 3, 3], [8, 8, 8, 1], 128, None),
        ([0, 3, 3, 3], [8, 8, 1, 8], 128, None),
        ([0, 3, 3, 3], [8, 1, 8, 8], 256, None),
        ([0, 3, 3, 0], [8, 8, 8, 8], None, 1024),
        ([0, 3, 0, 3], [8, 8, 8, 1], None, 512),
        ([0, 0, 0, 3], [8, 8, 8, 0], None, 512),
        ([0, 3, 3, 3], [1, 1, 1, 1], None, None),
    ],
)
def test_bin_without_an_interval_neither_hides_a_failure_nor_is_one(
    excess: list[float], units: list[int], value: float | None, bound: float | None
) -> None:
    assert failure(excess, units) == (value, bound)


class Count(LinearCell):
    """Its state is the number of characters that it has read."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        return 0 * Wx + 1, 1 + 0.001 * Wx


def test_size_of_a_state_that_counts_is_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    context = dataclasses.replace(random_context(model_of(Count, monkeypatch)), window=WINDOW)
    _, size, saturation = position(context).result.panels
    sizes = curve(size, "layer 1, h")
    assert sizes.x == position_edges(WINDOW, 64 * WINDOW)[1:]
    assert sizes.y == pytest.approx(sizes.x, rel=0.01)
    result = position(context).result
    grown = number(result, "size at the end / after a window, layer 1, h").value
    assert grown == pytest.approx(64, rel=0.01)
    assert set(curve(saturation, "layer 1, h").y) == {1.0}


def test_inputs_that_a_convolution_holds_are_parts_of_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(Count, monkeypatch, conv=3)
    context = dataclasses.replace(random_context(model), window=WINDOW)
    size = position(context).result.panels[1]
    names = "h", "x 1 back", "x 2 back"
    assert [each.name for each in size.curves] == [f"layer 1, {name}" for name in names]


def test_saturation_is_the_share_of_gates_near_0_or_1() -> None:
    """Without inputs, gates of an LSTM are the sigmoids of their biases."""
    torch.manual_seed(0)
    config = validate_config({"cell": "lstm", "hidden_size": 8, "embedding_dim": 5})
    model = CharLM(config, VOCABULARY.size).eval()
    model.cells[0].W.weight.data.zero_()
    model.cells[0].U.weight.data.zero_()
    forget = torch.tensor([0.89, 0.91, 0.11, 0.09, 0.5, 0.99, 0.01, 0.6])
    model.cells[0].W.bias.data[8:16] = forget.logit()
    context = dataclasses.replace(random_context(model), window=WINDOW)
    saturation = position(context).result.panels[2]
    assert set(curve(saturation, "layer 1, f").y) == {0.5}
    assert set(curve(saturation, "layer 1, h").y) == {0.0}


def test_short_text_reads_fewer_windows_or_does_not_apply() -> None:
    context = context_of(FakeModel)
    assert (
        len(position(dataclasses.replace(context, ids=context.ids[:700])).result.curves[0].x) == 9
    )
    with pytest.raises(ProbeNotApplicableError) as error:
        position(dataclasses.replace(context, ids=context.ids[:255]))
    assert error.value.reason == TextTooShort("probed", 255, 256)


def test_edges_are_powers_of_two_and_windows() -> None:
    assert position_edges(50, 200) == [0, 1, 2, 4, 8, 16, 32, 50, 100, 200]
    assert np.all(np.diff(position_edges(64, 4096)) > 0)
