"""The probes that look inside, asked of models whose memory is known exactly."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, cat, nn
from torch.testing import assert_close

from charlm.cells.base import Cell, LinearCell, State
from charlm.config import validate_config
from charlm.data.vocabulary import Vocabulary
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext, ProbeNotApplicable
from charlm.probes.gradient_norm import gradient_norm, gradient_norms
from charlm.probes.timescales import decorrelation_times, timescales
from charlm.results.probes import Curve, ProbeResult, ScalarResult
from charlm.seeding import derive_seed

ALPHABET = Vocabulary("chars", tuple(map(ord, "abcdefg")))
KEPT, SLOTS = 0.95, 16


class Leaky(LinearCell):
    """h' = 0.95 h + W x: what is left of a character after d more is 0.95^d of it, exactly."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        return 0 * Wx + KEPT, Wx


class Delay(Cell):
    """Holds one number of each of the last H characters, and nothing of those before."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 1)

    def step(self, Wx: Tensor, state: State) -> State:
        return (cat((Wx, state[0][:, :-1]), dim=-1),)


def model_of(
    kind: type[Cell], monkeypatch: pytest.MonkeyPatch, kernel: str = "loop", **settings: object
) -> CharLM:
    monkeypatch.setattr("charlm.model.find", lambda name: kind)
    torch.manual_seed(0)
    config = validate_config({"hidden_size": SLOTS, "embedding_dim": 5, **settings})
    return CharLM(config, ALPHABET.size, kernel).eval()


def reading(model: CharLM, fresh: CharLM | None = None, length: int = 4096) -> ProbeContext:
    ids = np.random.default_rng(0).integers(0, 7, length)
    untrained = model if fresh is None else fresh
    return ProbeContext(
        model=model,
        ids=ids,
        vocabulary=ALPHABET,
        train_ids=ids,
        char_lm=model,
        make_untrained_model=lambda: untrained,
    )


def curve(found: ProbeResult, name: str) -> Curve:
    (one,) = [curve for curve in found.curves if curve.name == name]
    return one


def number(found: ProbeResult, name: str) -> ScalarResult:
    (one,) = [number for number in found.numbers if number.name == name]
    return one


@pytest.mark.parametrize("kernel", ["loop", "scan"])
def test_a_leaky_sum_s_gradient_falls_as_what_it_keeps(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = gradient_norm(
        reading(model_of(Leaky, monkeypatch, kernel)), most=256, places=6, at_once=4
    )
    assert [one.name for one in found.curves] == [
        f"{what}, {when}" for when in ("trained", "untrained") for what in ("loss", "state")
    ]
    for one in found.curves:
        assert one.y == pytest.approx([KEPT**lag for lag in one.x], rel=1e-3)
        slope = number(found, f"slope, {one.name}")
        assert slope.value == pytest.approx(math.log10(KEPT), rel=1e-3)
        lag = number(found, f"lag at 0.001, {one.name}")
        assert lag.value == pytest.approx(-3 / math.log10(KEPT), rel=1e-3)
    assert found.log_y and not found.notes


def test_what_does_not_fall_within_the_text_has_no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gradient_norm(reading(model_of(Leaky, monkeypatch)), most=64, places=4)
    lag = number(found, "lag at 0.001, loss, trained")
    assert lag.value is None and lag.note == "more than 64"
    assert curve(found, "loss, trained").x[-1] == 64


def test_a_delay_line_s_gradient_ends_at_its_last_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gradient_norm(reading(model_of(Delay, monkeypatch)), most=64, places=20)
    loss, state = curve(found, "loss, trained"), curve(found, "state, trained")
    for lag, share in zip(loss.x, loss.y, strict=True):
        assert (share is not None) == (lag < SLOTS)
    assert number(found, "lag at 0.001, loss, trained").value == SLOTS
    assert state.y[-3:] == [None] * 3 and state.x[-3:] == [16, 32, 64]
    assert state.y[3] == pytest.approx(0.5**0.5, rel=0.1)  # at 8, half of the slots are left


def test_trained_and_untrained_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    other = model_of(Delay, monkeypatch)
    found = gradient_norm(reading(model_of(Leaky, monkeypatch), fresh=other), most=64, places=4)
    assert curve(found, "loss, trained").y[-1] is not None
    assert curve(found, "loss, untrained").y[-1] is None


def test_both_gradients_are_those_of_autograd() -> None:
    """A character at a time; the state's by its whole Jacobian, in a cell whose state has parts
    that are carried, one that is not, and a clock."""
    for cell in ("lstm", "qrnn", "clockwork"):
        torch.manual_seed(3)
        config = validate_config(
            {"cell": cell, "num_layers": 2, "hidden_size": 8, "embedding_dim": 5}
        )
        model = CharLM(config, ALPHABET.size).double().eval()
        asked = reading(model, length=200)
        at, farthest = np.array([90, 150]), 8
        (_, _, of_loss), (_, lags, of_state) = gradient_norms(model, asked, at, farthest, 2)
        draw = torch.Generator().manual_seed(derive_seed(0, "gradient"))
        begin = at[:, None] + np.arange(-farthest - farthest // 4, 2)
        ids = torch.from_numpy(asked.ids[begin].T)
        _, state = model(ids[: farthest // 4], model.initial_state(2))
        x = [one[None].detach().requires_grad_() for one in model.embed(ids[farthest // 4 : -1])]
        states = []
        for one in x:
            h, state = model.unroll(one, None, state)
            states.append(state)
        loss = -model.predict(h)[0].log_softmax(-1).gather(1, ids[-1][:, None]).sum()
        wanted = torch.autograd.grad(loss, x, retain_graph=True)
        assert_close(torch.from_numpy(of_loss), cat(wanted).norm(dim=-1).flip(0))

        def parts(state: tuple[State, ...], cell: str = cell) -> list[Tensor]:
            carried = {"lstm": (0, 1), "qrnn": (1, 2), "clockwork": (0,)}[cell]
            return [layer[place] for layer in state for place in carried]

        vectors = [torch.randn(part.shape, generator=draw) for part in parts(state)]
        vectors = [v.double() for v in vectors]
        length = sum(v.square().sum(1) for v in vectors).sqrt()
        for lag, got in zip(lags, of_state, strict=True):
            before = parts(states[-1 - lag])
            back = torch.autograd.grad(parts(states[-1]), before, vectors, retain_graph=True)
            size = sum(g.square().sum(1) for g in back).sqrt() / length
            assert_close(torch.from_numpy(got), size)


class Idle(Leaky):
    """A person's leaky sum: its output is only read from what it holds, and it does not say so."""

    states = ("h", "s")

    def step(self, Wx: Tensor, state: State) -> State:
        s = KEPT * state[1] + Wx
        return 2 * s, s


def test_what_the_next_step_does_not_look_at_has_no_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = gradient_norm(reading(model_of(Idle, monkeypatch)), most=64, places=8)
    loss, state = curve(found, "loss, trained"), curve(found, "state, trained")
    assert loss.y == pytest.approx([KEPT**lag for lag in loss.x], rel=1e-3)
    ratios = [now / before for before, now in itertools.pairwise(state.y)]
    assert ratios == pytest.approx([KEPT**lag for lag in state.x[:-1]], rel=1e-3)


def test_a_state_that_is_the_same_everywhere_is_not_followed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = reading(model_of(Leaky, monkeypatch))
    alone = gradient_norm(
        asked, most=64, places=4, at_once=1
    )  # alike is said of all places, not of one
    assert len(alone.curves) == 4 and not alone.notes
    found = gradient_norm(dataclasses.replace(asked, ids=0 * asked.ids), most=64, places=4)
    assert [one.name for one in found.curves] == ["loss, trained", "loss, untrained"]
    assert curve(found, "loss, trained").y[0] == pytest.approx(KEPT, rel=1e-3)
    assert found.notes == [
        f"state, {when}: it is the same at all places, and not followed back"
        for when in ("trained", "untrained")
    ]


def test_a_text_too_short_to_look_back_in_is_not_measurable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(Leaky, monkeypatch)
    with pytest.raises(ProbeNotApplicable, match="127 characters, and 128 are needed"):
        gradient_norm(reading(model, length=127))
    found = gradient_norm(reading(model, length=300), places=4)
    assert curve(found, "loss, trained").x[-1] == 128


# timescales


def test_a_leaky_sum_s_gate_and_state_tell_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of random characters it is an AR(1) process: its autocorrelation at lag d is 0.95^d."""
    found = timescales(reading(model_of(Leaky, monkeypatch), length=20_000))
    gate = curve(found, "layer 1, share kept")
    assert gate.y == pytest.approx([-1 / math.log(KEPT)] * SLOTS, rel=1e-4)
    assert gate.x == [100 * (unit + 0.5) / SLOTS for unit in range(SLOTS)]
    lag = number(found, "median, layer 1, autocorrelation").value
    assert lag == pytest.approx(math.ceil(-1 / math.log(KEPT)), rel=0.15)


def test_units_are_sorted_by_the_geometric_mean_of_what_they_keep() -> None:
    """Forget gates of an LSTM that sees nothing are its biases; the second layer's swing."""
    torch.manual_seed(0)
    config = validate_config(
        {"cell": "lstm", "num_layers": 2, "hidden_size": 8, "embedding_dim": 7}
    )
    model = CharLM(config, ALPHABET.size).eval()
    model.embed.weight.data.copy_(torch.eye(8)[:, :7])
    shares = torch.tensor([0.5, 0.99, 0.9, 0.2, 0.95, 0.7, 0.3, 0.8])
    for layer in model.cells:
        layer.W.weight.data.zero_()
        layer.U.weight.data.zero_()
        layer.W.bias.data[8:16] = shares.logit()
    model.cells[0].W.weight.data[8, 0] = 5  # unit 0 keeps more where it reads an a
    asked = reading(model, length=20_000)
    found = timescales(asked)
    still = sorted((-1 / shares.log()).tolist())
    assert curve(found, "layer 2, share kept").y == pytest.approx(still, rel=1e-4)
    assert number(found, "median, layer 2, share kept").value == pytest.approx(still[3], rel=1e-4)
    slowest = number(found, "95 % of units, layer 2, share kept")
    assert slowest.value == pytest.approx(still[-1], rel=1e-4)
    a = (asked.ids == 0).mean()
    mean = a * math.log(1 / (1 + math.exp(-5))) + (1 - a) * math.log(0.5)
    swung = sorted([-1 / mean, *(-1 / shares[1:].log()).tolist()])
    assert curve(found, "layer 1, share kept").y == pytest.approx(swung, rel=0.02)


def test_what_is_not_forgotten_is_beyond_what_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.KEPT", 1.0)
    found = timescales(reading(model_of(Leaky, monkeypatch)))
    assert curve(found, "layer 1, share kept").y == [None] * SLOTS
    median = number(found, "median, layer 1, share kept")
    assert median.value is None and median.note == "it does not forget"


def test_a_cell_without_a_gate_that_keeps_has_the_autocorrelation_alone() -> None:
    torch.manual_seed(0)
    model = CharLM(
        validate_config({"cell": "irnn", "hidden_size": 8, "embedding_dim": 5}), ALPHABET.size
    ).eval()
    model.cells[0].W.bias.data[:3] = -9.0  # these units never wake
    model.cells[0].U.weight.data *= 0.5
    found = timescales(reading(model))
    assert [one.name for one in found.curves] == ["layer 1, autocorrelation"]
    assert len(found.curves[0].x) == 5
    assert found.notes == [
        "layer 1: its cell has no gate that keeps; autocorrelation alone",
        "layer 1: 3 units never change",
    ]


def test_a_wave_ceases_to_resemble_itself_at_a_fifth_of_its_length() -> None:
    """cos is 1/e at 1.194, 0.19 of a turn; what differs between streams alone never ceases to."""
    time = np.arange(2048)[:, None, None] + np.array([0, 7])[None, :, None]
    waves = np.cos(2 * np.pi * time / np.array([64, 200, 64])).astype(np.float32)
    waves += np.array([[0, 5, 9], [0, 5, -9]], dtype=np.float32)
    assert decorrelation_times(waves, 512).tolist() == [13, 39, np.inf]


def test_a_series_is_not_taken_for_a_ring() -> None:
    """By the definition; the end of a random walk is far from its beginning."""
    walks = np.random.default_rng(1).standard_normal((300, 1, 6)).cumsum(0).astype(np.float32)
    centred = (walks - walks.mean(0))[:, 0].astype(np.float64)
    for unit, lag in enumerate(decorrelation_times(walks, 150)):
        x = centred[:, unit]
        alike = [np.mean(x[: 300 - d] * x[d:]) / np.mean(x * x) for d in range(151)]
        assert lag == next(d for d, share in enumerate(alike) if share < 1 / math.e)


def test_a_text_too_short_for_eight_streams_is_not_measurable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ProbeNotApplicable, match="511 characters, and 512 are needed"):
        timescales(reading(model_of(Leaky, monkeypatch), length=511))
