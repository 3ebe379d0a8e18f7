"""Lyapunov exponents, on cells whose Jacobian is known exactly."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from known_cells import (
    HIDDEN_SIZE,
    VOCABULARY,
    Delay,
    Leaky,
    LeakyReadout,
    Perfect,
    curve,
    model_of,
    number,
    random_context,
)
from torch import Tensor

from charlm.config import validate_config
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeNotApplicableError
from charlm.probes.lyapunov import (
    FLOOR,
    carry_directions,
    choose_streams,
    flatten,
    lyapunov,
    measure_exponents,
    start_trajectory,
    unflatten,
)
from charlm.probes.windows import evenly_spaced, gather_windows
from charlm.results.probe_limits import ConstantState, NotAccessible, NotFinite, TextTooShort

EIGENVALUES = 0.99 * 0.8 ** np.arange(HIDDEN_SIZE)


class Diagonal(Leaky):
    """h' = a h + W x, with a factor of its own for each unit, in no order."""

    retained = torch.from_numpy(np.random.default_rng(0).permutation(EIGENVALUES))


def test_exponents_of_a_diagonal_recurrence_are_logarithms_of_its_factors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = random_context(model_of(Diagonal, monkeypatch))
    result = lyapunov(dataclasses.replace(context, window=20)).result
    exponents = curve(result, "trained")
    assert exponents.x == list(range(1, HIDDEN_SIZE + 1))
    assert exponents.y == pytest.approx(np.log(EIGENVALUES), abs=1e-6)
    assert exponents.y == curve(result, "untrained").y
    assert number(result, "largest exponent, trained").value == exponents.y[0]
    horizon = number(result, "horizon, trained")
    assert horizon.value == pytest.approx(-1 / math.log(0.99), rel=1e-4)
    slow = number(result, "slow directions, trained")
    assert slow.unit == "directions"
    assert slow.value == 1  # -1 / 20 is between the first and the second


def irnn_of(matrix: Tensor, bias: Tensor) -> CharLM:
    torch.manual_seed(0)
    size = len(bias)
    config = validate_config({"cell": "irnn", "hidden_size": size, "embedding_dim": 5})
    model = CharLM(config, VOCABULARY.size).eval()
    model.cells[0].U.weight.data.copy_(matrix)
    model.cells[0].W.bias.data.copy_(bias)
    return model


def test_exponents_of_an_irnn_are_those_of_the_matrix_of_its_active_units() -> None:
    """A large bias keeps units 0 to 5 active, and a negative one units 6 and 7 at zero."""
    eigenvalues = 0.95 * 0.7 ** torch.arange(6)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3))).Q
    matrix, bias = torch.zeros(8, 8), torch.full((8,), -1000.0)
    matrix[:6, :6] = basis @ torch.diag(eigenvalues) @ basis.T
    bias[:6] = (torch.eye(6) - matrix[:6, :6]) @ torch.full((6,), 100.0)
    result = lyapunov(random_context(irnn_of(matrix, bias))).result
    expected = [*eigenvalues.log().tolist(), math.log(FLOOR), math.log(FLOOR)]
    assert curve(result, "trained").y == pytest.approx(expected, abs=1e-5)


def test_exponents_follow_the_states_that_the_text_drives() -> None:
    """For tanh units without connections, a factor is u (1 - h^2) after the same text."""
    torch.manual_seed(0)
    config = validate_config({"cell": "rnn", "hidden_size": 4, "embedding_dim": 5})
    model = CharLM(config, VOCABULARY.size).eval()
    weights = 0.95 * 0.2 ** torch.arange(4)
    model.cells[0].U.weight.data.copy_(torch.diag(weights))
    model.cells[0].W.weight.data.mul_(2)
    context = random_context(model)
    exponents = curve(lyapunov(context, 100).result, "trained").y
    starts = evenly_spaced(0, len(context.ids) - 420, 16)
    text = gather_windows(context.ids, starts, 420)
    with torch.no_grad():
        h, _ = model.unroll(model.embed(text), None, model.initial_state(16))
    factors = weights * (1 - h[320:].square())
    assert exponents == pytest.approx(factors.log().mean((0, 1)).tolist(), abs=1e-4)


def test_growing_and_perfect_states_have_no_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    growing = lyapunov(random_context(irnn_of(1.05 * torch.eye(4), torch.ones(4))), 64).result
    assert curve(growing, "trained").y == pytest.approx([math.log(1.05)] * 4, abs=1e-6)
    perfect = lyapunov(random_context(model_of(Perfect, monkeypatch)), 64).result
    for result in (growing, perfect):
        horizon = number(result, "horizon, trained")
        assert horizon.value is None and horizon.never_forgets
    assert number(perfect, "slow directions, trained").value == HIDDEN_SIZE


def test_directions_are_multiplied_by_the_jacobian_of_all_layers() -> None:
    torch.manual_seed(0)
    config = validate_config(
        {"cell": "lstm", "num_layers": 2, "hidden_size": 6, "embedding_dim": 5, "block": "residual"}
    )
    context = random_context(CharLM(config, VOCABULARY.size).eval())
    assert context.char_lm is not None
    before = start_trajectory(context.char_lm, context, np.array([0, 50]))
    assert before.moving == [0, 1, 2, 3]
    ids = torch.tensor([1, 4])
    directions = torch.randn(2, 24, 5, dtype=torch.float64)
    after, carried = carry_directions(before, ids, directions)

    def step(state: Tensor) -> Tensor:
        parts = unflatten(state, before.parts, before.moving)
        logits = torch.zeros(2, 1)
        new = before.step.step(before.step.table[ids], (logits, *parts))
        return flatten(list(new[1:]), before.moving)

    state = flatten(before.parts, before.moving)
    assert torch.allclose(flatten(after.parts, after.moving), step(state), rtol=1e-12)
    jacobian = torch.autograd.functional.jacobian(step, state)
    for stream in range(2):
        exact = jacobian[stream, :, stream] @ directions[stream]
        assert torch.allclose(carried[stream], exact, rtol=1e-6, atol=1e-9)


def test_outputs_that_no_step_reads_are_forgotten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    result = lyapunov(random_context(model_of(LeakyReadout, monkeypatch)), 64).result
    exponents = curve(result, "trained").y
    assert exponents[:16] == pytest.approx([math.log(0.95)] * 16, abs=1e-6)
    assert exponents[16:] == pytest.approx([math.log(FLOOR)] * 16)


def test_inputs_that_a_convolution_holds_are_no_slow_directions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(LeakyReadout, monkeypatch, conv=3)
    exponents = curve(lyapunov(random_context(model), 64).result, "trained").y
    assert exponents[:16] == pytest.approx([math.log(0.95)] * 16, abs=1e-6)
    assert len(exponents) == 32 and max(exponents[16:]) < -1


def test_large_states_are_followed_in_fewer_passages_and_directions() -> None:
    """A window of 128 keys and values has 4,096 numbers of each 16 units."""
    for size, streams in ((16, 16), (64, 4)):
        config = validate_config({"cell": "attention", "hidden_size": size, "embedding_dim": 5})
        assert choose_streams(CharLM(config, VOCABULARY.size)) == streams
    starts = np.array([0, 50, 100, 150])
    context = random_context(CharLM(config, VOCABULARY.size).eval(), length=1000)
    assert context.char_lm is not None
    with torch.no_grad():
        trajectory = start_trajectory(context.char_lm, context, starts)
        logs, numbers = measure_exponents(trajectory, context, starts, 1, settle_length=1)
    assert trajectory.moving == [1, 2]  # keys and values, but neither output nor clock
    assert numbers == 2 * 128 * 64 and logs.shape == (1, 4, 16)


def test_delay_line_forgets_everything_at_once_when_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No direction survives 64 characters in a line of 16."""
    result = lyapunov(random_context(model_of(Delay, monkeypatch)), 64).result
    assert max(curve(result, "trained").y) < -0.5


def test_model_that_cannot_be_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    divergent = random_context(irnn_of(9 * torch.eye(4), torch.ones(4)))
    context = random_context(model_of(Leaky, monkeypatch))
    for changed, reason in (
        (dataclasses.replace(context, char_lm=None), NotAccessible("cells")),
        (dataclasses.replace(context, ids=context.ids[:2047]), TextTooShort("probed", 2047, 2048)),
        (divergent, NotFinite()),
    ):
        with pytest.raises(ProbeNotApplicableError) as error:
            lyapunov(changed)
        assert error.value.reason == reason
    constant = model_of(Leaky, monkeypatch)
    constant.cells[0].W.weight.data.zero_()
    notes = lyapunov(random_context(constant)).result.notes
    assert notes == [ConstantState("trained"), ConstantState("untrained")]
