"""Timescales of gates and states, on cells whose memory is known exactly."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from known_cells import (
    HIDDEN_SIZE,
    RETENTION,
    VOCABULARY,
    Leaky,
    Perfect,
    curve,
    model_of,
    number,
    random_context,
)

from charlm.config import validate_config
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeNotApplicableError
from charlm.probes.timescales import decorrelation_times, timescales
from charlm.results.probe_limits import ConstantUnits, NoGate, TextTooShort


def test_leaky_gate_and_state_have_same_timescale(monkeypatch: pytest.MonkeyPatch) -> None:
    """On random characters it is an AR(1) process: its autocorrelation at lag d is 0.95^d."""
    result = timescales(random_context(model_of(Leaky, monkeypatch), length=20_000)).result
    gate = curve(result, "layer 1, share kept")
    assert gate.y == pytest.approx([-1 / math.log(RETENTION)] * HIDDEN_SIZE, rel=1e-4)
    assert gate.x == [100 * (unit + 0.5) / HIDDEN_SIZE for unit in range(HIDDEN_SIZE)]
    lag = number(result, "median, layer 1, autocorrelation").value
    assert lag == pytest.approx(math.ceil(-1 / math.log(RETENTION)), rel=0.15)


@pytest.mark.slow
def test_gate_timescale_is_geometric_mean_of_retention() -> None:
    """Forget gates of an LSTM without input are its biases; unit 0 of layer 1 follows the text."""
    torch.manual_seed(0)
    config = validate_config(
        {"cell": "lstm", "num_layers": 2, "hidden_size": 8, "embedding_dim": 7}
    )
    model = CharLM(config, VOCABULARY.size).eval()
    model.embed.weight.data.copy_(torch.eye(8)[:, :7])
    retention = torch.tensor([0.5, 0.99, 0.9, 0.2, 0.95, 0.7, 0.3, 0.8])
    for layer in model.cells:
        layer.W.weight.data.zero_()
        layer.U.weight.data.zero_()
        layer.W.bias.data[8:16] = retention.logit()
    model.cells[0].W.weight.data[8, 0] = 5  # unit 0 keeps more at an "a"
    context = random_context(model, length=20_000)
    result = timescales(context).result
    constant = sorted((-1 / retention.log()).tolist())
    assert curve(result, "layer 2, share kept").y == pytest.approx(constant, rel=1e-4)
    median = number(result, "median, layer 2, share kept")
    assert median.value == pytest.approx(constant[3], rel=1e-4)
    slowest = number(result, "95th percentile, layer 2, share kept")
    assert slowest.value == pytest.approx(constant[-1], rel=1e-4)
    share_of_a = (context.ids == 0).mean()
    log_mean = share_of_a * math.log(1 / (1 + math.exp(-5))) + (1 - share_of_a) * math.log(0.5)
    varying = sorted([-1 / log_mean, *(-1 / retention[1:].log()).tolist()])
    assert curve(result, "layer 1, share kept").y == pytest.approx(varying, rel=0.02)


def test_unit_that_never_forgets_has_no_time_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    result = timescales(random_context(model_of(Perfect, monkeypatch))).result
    assert curve(result, "layer 1, share kept").y == [None] * HIDDEN_SIZE
    median = number(result, "median, layer 1, share kept")
    assert median.value is None and median.never_forgets


def test_cell_without_gate_has_only_autocorrelation() -> None:
    torch.manual_seed(0)
    config = validate_config({"cell": "irnn", "hidden_size": 8, "embedding_dim": 5})
    model = CharLM(config, VOCABULARY.size).eval()
    model.cells[0].W.bias.data[:3] = -9.0  # these units are always 0
    model.cells[0].U.weight.data *= 0.5
    result = timescales(random_context(model)).result
    assert [curve.name for curve in result.curves] == ["layer 1, autocorrelation"]
    assert len(result.curves[0].x) == 5
    assert result.notes == [NoGate(1), ConstantUnits(1, 3)]


def test_decorrelation_time_of_wave_is_fifth_of_period() -> None:
    """cos is 1/e at 1.194, 0.19 of a period; a difference between streams never decorrelates."""
    time = np.arange(2048)[:, None, None] + np.array([0, 7])[None, :, None]
    waves = np.cos(2 * np.pi * time / np.array([64, 200, 64])).astype(np.float32)
    waves += np.array([[0, 5, 9], [0, 5, -9]], dtype=np.float32)
    assert decorrelation_times(waves, 512).tolist() == [13, 39, np.inf]


def test_decorrelation_time_does_not_wrap_around() -> None:
    """The end of a random walk is far from its beginning."""
    walks = np.random.default_rng(1).standard_normal((300, 1, 6)).cumsum(0).astype(np.float32)
    centered = (walks - walks.mean(0))[:, 0].astype(np.float64)
    for unit, lag in enumerate(decorrelation_times(walks, 150)):
        x = centered[:, unit]
        correlations = [np.mean(x[: 300 - d] * x[d:]) / np.mean(x * x) for d in range(151)]
        assert lag == next(d for d, value in enumerate(correlations) if value < 1 / math.e)


def test_timescales_do_not_apply_to_short_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProbeNotApplicableError) as error:
        timescales(random_context(model_of(Leaky, monkeypatch), length=511))
    assert error.value.reason == TextTooShort("probed", 511, 512)


def test_fewer_passages_where_documents_start_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """One document has room for six passages of an eighth of the text, the others for none."""
    context = random_context(model_of(Leaky, monkeypatch))
    starts = np.arange(len(context.ids)) % 256 == 0
    starts[1024:1541] = False
    starts[[1024, 1541]] = True
    expected, ticks = [], []
    context = dataclasses.replace(context, starts=starts, expect=expected.append, tick=ticks.append)
    gate = curve(timescales(context).result, "layer 1, share kept")
    assert gate.y == pytest.approx([-1 / math.log(RETENTION)] * HIDDEN_SIZE, rel=1e-4)
    assert expected == [6 * 512] and sum(ticks) == 6 * 512
