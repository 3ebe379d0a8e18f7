"""Gradient norm by lag, on cells whose memory is known exactly."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from known_cells import (
    HIDDEN_SIZE,
    RETENTION,
    VOCABULARY,
    Delay,
    Leaky,
    LeakyReadout,
    curve,
    model_of,
    number,
    random_context,
)
from torch import Tensor, cat
from torch.testing import assert_close

from charlm.cells.base import State
from charlm.config import validate_config
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeNotApplicableError
from charlm.probes.gradient_norm import gradient_norm, gradient_norms
from charlm.results.probe_limits import ConstantState, NotCommensurable, TextTooShort
from charlm.seeding import derive_seed


@pytest.mark.parametrize("kernel", ["loop", "scan"])
def test_leaky_gradient_decays_by_its_retention(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = random_context(model_of(Leaky, monkeypatch, kernel))
    result = gradient_norm(context, max_lag=256, num_positions=6, batch_size=4).result
    assert [curve.name for curve in result.curves] == [
        f"{source}, {stage}" for stage in ("trained", "untrained") for source in ("loss", "state")
    ]
    for decay in result.curves:
        assert decay.y == pytest.approx([RETENTION**lag for lag in decay.x], rel=1e-3)
        slope = number(result, f"slope, {decay.name}")
        assert slope.value == pytest.approx(math.log10(RETENTION), rel=1e-3)
        lag = number(result, f"lag at 0.001, {decay.name}")
        assert lag.value == pytest.approx(-3 / math.log10(RETENTION), rel=1e-3)
    assert result.log_y and result.notes == [NotCommensurable()]


def test_gradient_above_threshold_has_no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    context = random_context(model_of(Leaky, monkeypatch))
    result = gradient_norm(context, max_lag=64, num_positions=4).result
    lag = number(result, "lag at 0.001, loss, trained")
    assert lag.value is None and lag.lower_bound == 64
    assert curve(result, "loss, trained").x[-1] == 64


def test_delay_gradient_ends_at_last_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    context = random_context(model_of(Delay, monkeypatch))
    result = gradient_norm(context, max_lag=64, num_positions=20).result
    loss, state = curve(result, "loss, trained"), curve(result, "state, trained")
    for lag, share in zip(loss.x, loss.y, strict=True):
        assert (share is not None) == (lag < HIDDEN_SIZE)
    assert number(result, "lag at 0.001, loss, trained").value == HIDDEN_SIZE
    assert state.y[-3:] == [None] * 3 and state.x[-3:] == [16, 32, 64]
    assert state.y[3] == pytest.approx(0.5**0.5, rel=0.1)  # at lag 8, half of the units are left


def test_trained_and_untrained_models_are_both_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    delay = model_of(Delay, monkeypatch)
    context = random_context(model_of(Leaky, monkeypatch), untrained=delay)
    result = gradient_norm(context, max_lag=64, num_positions=4).result
    assert curve(result, "loss, trained").y[-1] is not None
    assert curve(result, "loss, untrained").y[-1] is None


@pytest.mark.parametrize(
    ("cell", "carried_parts"), [("lstm", (0, 1)), ("qrnn", (1, 2)), ("clockwork", (0,))]
)
def test_gradient_norms_equal_autograd(cell: str, carried_parts: tuple[int, ...]) -> None:
    """One character at a time.

    The cells have state parts that are carried, one that is not, and a clock.
    """
    torch.manual_seed(3)
    config = validate_config({"cell": cell, "num_layers": 2, "hidden_size": 8, "embedding_dim": 5})
    model = CharLM(config, VOCABULARY.size).double().eval()
    context = random_context(model, length=200)
    positions, max_lag = np.array([90, 150]), 8
    loss_norms, state_norms = gradient_norms(model, context, positions, max_lag, 2)
    generator = torch.Generator().manual_seed(derive_seed(0, "gradient"))
    windows = positions[:, None] + np.arange(-max_lag - max_lag // 4, 2)
    ids = torch.from_numpy(context.ids[windows].T)
    _, state = model(ids[: max_lag // 4], model.initial_state(2))
    embedded = model.embed(ids[max_lag // 4 : -1])
    x = [step[None].detach().requires_grad_() for step in embedded]
    states = []
    for step in x:
        h, state = model.unroll(step, None, state)
        states.append(state)
    loss = -model.predict(h)[0].log_softmax(-1).gather(1, ids[-1][:, None]).sum()
    gradients = torch.autograd.grad(loss, x, retain_graph=True)
    assert_close(torch.from_numpy(loss_norms.norms), cat(gradients).norm(dim=-1).flip(0))

    def carried(state: tuple[State, ...]) -> list[Tensor]:
        return [layer[part] for layer in state for part in carried_parts]

    vectors = [torch.randn(part.shape, generator=generator) for part in carried(state)]
    vectors = [vector.double() for vector in vectors]
    length = sum(vector.square().sum(1) for vector in vectors).sqrt()
    for lag, norms in zip(state_norms.lags, state_norms.norms, strict=True):
        earlier = carried(states[-1 - lag])
        gradients = torch.autograd.grad(carried(states[-1]), earlier, vectors, retain_graph=True)
        expected = sum(gradient.square().sum(1) for gradient in gradients).sqrt() / length
        assert_close(torch.from_numpy(norms), expected)


def test_state_part_that_step_ignores_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    context = random_context(model_of(LeakyReadout, monkeypatch))
    result = gradient_norm(context, max_lag=64, num_positions=8).result
    loss, state = curve(result, "loss, trained"), curve(result, "state, trained")
    assert loss.y == pytest.approx([RETENTION**lag for lag in loss.x], rel=1e-3)
    ratios = [later / earlier for earlier, later in itertools.pairwise(state.y)]
    assert ratios == pytest.approx([RETENTION**lag for lag in state.x[:-1]], rel=1e-3)


def test_state_equal_at_all_positions_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    context = random_context(model_of(Leaky, monkeypatch))
    # Equality is over all positions, not over those of a batch.
    alone = gradient_norm(context, max_lag=64, num_positions=4, batch_size=1).result
    assert len(alone.curves) == 4 and alone.notes == [NotCommensurable()]
    constant = dataclasses.replace(context, ids=0 * context.ids)
    result = gradient_norm(constant, max_lag=64, num_positions=4).result
    assert [curve.name for curve in result.curves] == ["loss, trained", "loss, untrained"]
    assert curve(result, "loss, trained").y[0] == pytest.approx(RETENTION, rel=1e-3)
    assert result.notes == [
        NotCommensurable(),
        ConstantState("trained"),
        ConstantState("untrained"),
    ]


def test_gradient_norm_does_not_apply_to_short_text(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(Leaky, monkeypatch)
    with pytest.raises(ProbeNotApplicableError) as error:
        gradient_norm(random_context(model, length=127))
    assert error.value.reason == TextTooShort("probed", 127, 128)
    result = gradient_norm(random_context(model, length=300), num_positions=4).result
    assert curve(result, "loss, trained").x[-1] == 128
