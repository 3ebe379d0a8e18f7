"""Gated and structured cells of 2016 to 2025 whose state is a vector, against their equations.

Each cell is compared with a loop over time, streams and units in NumPy's float64 that is written
from its paper, and where torchrecurrent computes the same, with that.
"""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
import torchrecurrent
from numpy.typing import NDArray
from test_equations import BATCH, HIDDEN, INPUTS, TIME, randn, random_state, randomized
from torch import Tensor, nn
from torch.testing import assert_close

from charlm.cells import orthogonal_rnn
from charlm.cells.base import CELLS, Cell
from charlm.cells.cornn import amplitude_decay
from charlm.cells.highway_rnn import DEPTH
from charlm.cells.orthogonal_rnn import matrix_exponential
from charlm.kernels.loop import unroll_loop

Array = NDArray[np.float64]
Parts = dict[str, Array]
Reference = Callable[[Parts, Array, tuple[Array, ...]], tuple[Array, ...]]
REFERENCES: dict[str, Reference] = {}  # weights by name, x of one token, its state -> next state


def reference(name: str) -> Callable[[Reference], Reference]:
    """Return a decorator that registers one step of one stream."""

    def register(function: Reference) -> Reference:
        REFERENCES[name] = function
        return function

    return register


def sigma(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def rows(matrix: Array, gate: int) -> Array:
    """Return what belongs to a gate of a stacked matrix or bias."""
    return matrix[gate * HIDDEN : (gate + 1) * HIDDEN]


@reference("janet")
def janet_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Eqs. 4-6: the gate of the candidate is 1 - sigma(s - beta), with beta = 1."""
    (h,) = state
    s = rows(w["W.weight"], 0) @ x + rows(w["U.weight"], 0) @ h + rows(w["W.bias"], 0)
    c = np.tanh(rows(w["W.weight"], 1) @ x + rows(w["U.weight"], 1) @ h + rows(w["W.bias"], 1))
    return (sigma(s) * h + (1 - sigma(s - 1.0)) * c,)


@reference("mgu")
def mgu_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Eqs. 5a-5c: the forget gate acts on the past that the candidate sees, and mixes both."""
    (h,) = state
    f = sigma(rows(w["W.weight"], 0) @ x + w["U.weight"] @ h + rows(w["W.bias"], 0))
    n = np.tanh(rows(w["W.weight"], 1) @ x + w["U_n.weight"] @ (f * h) + rows(w["W.bias"], 1))
    return ((1 - f) * h + f * n,)


@reference("lem")
def lem_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Eq. 3 with a time step of 1: y reads the z of this step."""
    y, z = state

    def pre(gate: int) -> Array:
        return rows(w["W.weight"], gate) @ x + rows(w["W.bias"], gate)

    y_step, z_step = (sigma(pre(gate) + rows(w["U.weight"], gate) @ y) for gate in (0, 1))
    z = (1 - z_step) * z + z_step * np.tanh(pre(2) + rows(w["U.weight"], 2) @ y)
    y = (1 - y_step) * y + y_step * np.tanh(pre(3) + w["V.weight"] @ z)
    return y, z


@reference("cornn")
def cornn_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Eq. 3 with explicit damping, and the constants that were found on characters."""
    y, z = state
    dt, gamma, epsilon = 0.7, 1.0, 1.2
    drive = np.tanh(w["U.weight"] @ y + w["V.weight"] @ z + w["W.weight"] @ x + w["W.bias"])
    z = z + dt * drive - dt * gamma * y - dt * epsilon * z
    return y + dt * z, z


@reference("fastgrnn")
def fastgrnn_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Section 3.2: gate and candidate share W and U."""
    (h,) = state
    zeta, nu = sigma(w["zeta"][0]), sigma(w["nu"][0])
    z = sigma(w["W.weight"] @ x + w["U.weight"] @ h + rows(w["b"], 0))
    candidate = np.tanh(w["W.weight"] @ x + w["U.weight"] @ h + rows(w["b"], 1))
    return ((zeta * (1 - z) + nu) * candidate + z * h,)


@reference("paragru")
def paragru_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """The equations of the GRU with diagonal matrices."""
    (h,) = state
    Wx = [rows(w["W.weight"], gate) @ x + rows(w["W.bias"], gate) for gate in range(3)]
    A_z, A_r, A_n = (np.diag(rows(w["a"], gate)) for gate in range(3))
    z, r = sigma(Wx[0] + A_z @ h), sigma(Wx[1] + A_r @ h)
    return ((1 - z) * h + z * np.tanh(Wx[2] + A_n @ (h * r)),)


@reference("paralstm")
def paralstm_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """The equations of the LSTM with coupled gates, peepholes and diagonal matrices."""
    h, c = state
    Wx = [rows(w["W.weight"], gate) @ x + rows(w["W.bias"], gate) for gate in range(3)]
    A_f, A_o, A_c = (np.diag(rows(w["a"], gate)) for gate in range(3))
    C_f, C_o = (np.diag(rows(w["p"], gate)) for gate in range(2))
    f = sigma(Wx[0] + A_f @ h + C_f @ c)
    c = f * c + (1 - f) * np.tanh(Wx[2] + A_c @ h)
    o = sigma(Wx[1] + A_o @ h + C_o @ c)
    return o * np.tanh(c), c


@reference("highway-rnn")
def highway_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Eqs. 6-9 with ten levels; the carry gate is 1 - t."""
    (s,) = state
    for level in range(10):
        pre = w[f"R.{level}.weight"] @ s + w[f"R.{level}.bias"]
        if level == 0:
            pre += w["W.weight"] @ x
        t, g = sigma(pre[:HIDDEN]), np.tanh(pre[HIDDEN:])
        s = g * t + s * (1 - t)
    return (s,)


@reference("orthogonal-rnn")
def orthogonal_step(w: Parts, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Section 4: the exponential of a skew-symmetric matrix, and the modReLU of real numbers."""
    (h,) = state
    A = np.zeros((HIDDEN, HIDDEN))
    A[np.triu_indices(HIDDEN, 1)] = w["A"]
    s = w["W.weight"] @ x + scipy.linalg.expm(A - A.T) @ h
    return (np.sign(s) * np.maximum(np.abs(s) + w["b"], 0),)


@pytest.mark.parametrize("name", REFERENCES)
def test_cell_computes_the_equations_of_its_paper(name: str) -> None:
    cell = randomized(name)
    x, state = randn(TIME, BATCH, INPUTS), random_state(cell)
    outputs, last = unroll_loop(cell, x, state)
    weights = {key: value.detach().numpy() for key, value in cell.named_parameters()}
    for stream in range(BATCH):
        parts = tuple(part[stream].numpy() for part in state)
        for t in range(TIME):
            parts = REFERENCES[name](weights, x[t, stream].numpy(), parts)
            assert np.abs(outputs[t, stream].detach().numpy() - parts[0]).max() < 1e-12
        for part, expected in zip(last, parts, strict=True):
            assert np.abs(part[stream].detach().numpy() - expected).max() < 1e-12


# Initial values that the papers or the authors' code state


def test_highway_rnn_retains_over_all_levels_what_the_bias_says() -> None:
    cell = randomized("highway-rnn")
    bias = randn(HIDDEN)
    cell.init_retention_bias(bias)
    level_biases = torch.stack([level.bias[:HIDDEN] for level in cell.levels])
    carried = torch.sigmoid(-level_biases).prod(0)
    assert len(level_biases) == DEPTH == 10
    assert_close(carried, torch.sigmoid(bias))


def test_cornn_oscillates_with_the_amplitude_that_it_states() -> None:
    """The step of an oscillator without a drive is a matrix on (position, velocity)."""
    to_velocity = np.array([-0.7 * 1.0, 1 - 0.7 * 1.2])
    step = np.stack([np.array([1.0, 0.0]) + 0.7 * to_velocity, to_velocity])
    eigenvalues = np.linalg.eigvals(step)
    assert abs(eigenvalues.imag).min() > 0.1
    assert amplitude_decay() == pytest.approx(np.abs(eigenvalues), abs=1e-12)
    assert "is 0.4." in (CELLS["cornn"].__doc__ or "")
    assert amplitude_decay() == pytest.approx(0.4, abs=1e-12)


def test_fastgrnn_starts_as_the_authors_code_does() -> None:
    cell = CELLS["fastgrnn"](INPUTS, HIDDEN)
    assert (cell.b == 1).all() and (cell.zeta.item(), cell.nu.item()) == (1.0, -4.0)


@pytest.mark.parametrize("name", ["paragru", "paralstm"])
def test_units_of_pararnn_see_only_their_own_past(name: str) -> None:
    cell = randomized(name)
    state = [part.requires_grad_() for part in random_state(cell)]
    after = cell.step(cell.project_inputs(randn(BATCH, INPUTS)), tuple(state))
    for unit in range(HIDDEN):
        for gradient in torch.autograd.grad(after[0][:, unit].sum(), state, retain_graph=True):
            assert gradient.any(0).nonzero().flatten().tolist() == [unit]
    torch.manual_seed(0)
    assert CELLS[name](INPUTS, 4000).a.std().item() == pytest.approx((0.8 / 4000) ** 0.5, rel=0.03)


# The orthogonal RNN


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.5, 3.0, 40.0])
def test_matrix_exponential_equals_scipy(size: float) -> None:
    torch.manual_seed(1)
    S = size * (upper := torch.randn(12, 12).double().triu(1)) - size * upper.T
    Q = matrix_exponential(S)
    assert_close(Q.numpy(), scipy.linalg.expm(S.numpy()), rtol=0, atol=1e-12)
    assert_close(Q @ Q.T, torch.eye(12).double(), rtol=0, atol=1e-12)


def test_orthogonal_rnn_starts_with_rotations_of_pairs_below_a_radian() -> None:
    torch.manual_seed(1)
    for hidden_size in (400, 7):
        cell = CELLS["orthogonal-rnn"](INPUTS, hidden_size)
        Q = cell.rotation().detach()
        pairs = torch.block_diag(*Q.unfold(0, 2, 2).unfold(1, 2, 2).diagonal().permute(2, 0, 1))
        whole = 2 * (hidden_size // 2)
        assert_close(Q[:whole, :whole], pairs)
        angles = torch.acos(Q.diagonal()[:whole:2])
        assert angles.min() > 0 and angles.max() < 1  # tan(45 degrees) is 1
        assert hidden_size == whole or Q[-1, -1] == 1
        assert 0 < cell.b.abs().max() <= 0.01


def test_matrix_exponential_is_computed_once_in_an_unroll(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, calls = randomized("orthogonal-rnn"), []

    def count(S: Tensor) -> Tensor:
        calls.append(S)
        return matrix_exponential(S)

    monkeypatch.setattr(orthogonal_rnn, "matrix_exponential", count)
    state = random_state(cell)
    unroll_loop(cell, randn(TIME, BATCH, INPUTS), state)
    assert len(calls) == 1
    cell.step(cell.project_inputs(randn(BATCH, INPUTS)), state)
    assert len(calls) == 2 and not cell._buffers


def test_orthogonal_rnn_carries_the_gradient_over_a_thousand_steps() -> None:
    """With b = 0 the step is linear, and turns the gradient without making it longer or shorter."""
    cell = randomized("orthogonal-rnn")
    nn.init.zeros_(cell.b)
    (h,) = random_state(cell)
    h.requires_grad_()
    outputs, _ = unroll_loop(cell, torch.zeros(1000, BATCH, INPUTS).double(), (h,))
    (gradient,) = torch.autograd.grad(outputs[-1, :, 0].sum(), h)
    assert_close(gradient.norm(dim=1), torch.ones(BATCH).double())


# torchrecurrent: two biases, of which ours is the sum


def foreign_state(name: str, cell: Cell) -> dict[str, Tensor]:
    """Return the weights of a cell by torchrecurrent's names and in its order."""
    w = {key: value.detach() for key, value in cell.named_parameters()}
    if name == "FastGRNN":
        zeros, numbers = torch.zeros_like(w["b"]), {"zeta": w["zeta"], "nu": w["nu"]}
        biases = {"bias_ih": w["b"], "bias_hh": zeros}
        return {"weight_ih": w["W.weight"], "weight_hh": w["U.weight"], **biases, **numbers}
    foreign = {"weight_ih": w["W.weight"], "weight_hh": w["U.weight"], "bias_ih": w["W.bias"]}
    if name == "MGU":
        foreign["weight_hh"] = torch.cat((w["U.weight"], w["U_n.weight"]))
    if name in ("coRNN", "LEM"):
        foreign |= {"weight_ch": w["V.weight"], "bias_ch": torch.zeros_like(w["W.bias"][:HIDDEN])}
    foreign["bias_hh"] = torch.zeros(len(foreign["weight_hh"])).double()
    return foreign


@pytest.mark.parametrize("name", ["JANET", "MGU", "coRNN", "FastGRNN", "LEM"])
def test_cell_equals_torchrecurrent(name: str) -> None:
    """Their LEM reads the z of the last step for y, against the paper: there z is compared.

    The gate of their FastGRNN is a tanh unless another function is given.
    """
    cell = randomized(name.lower())
    options = {"nonlinearity": "sigmoid"} if name == "FastGRNN" else {}
    foreign: nn.Module = getattr(torchrecurrent, f"{name}Cell")(INPUTS, HIDDEN, **options).double()
    if name == "coRNN":
        foreign.dt, foreign.gamma, foreign.epsilon = 0.7, 1.0, 1.2
    shapes = {key: value.shape for key, value in foreign.state_dict().items()}
    state_dict = {k: v.reshape(shapes[k]) for k, v in foreign_state(name, cell).items()}
    missing = set(shapes) - set(state_dict)
    assert missing <= {"beta"}, missing
    foreign.load_state_dict(state_dict, strict=False)
    x, state = randn(TIME, BATCH, INPUTS), random_state(cell)
    for token in x:
        theirs = foreign(token, state[0] if name in ("MGU", "FastGRNN") else (*state, state[0])[:2])
        state = cell.step(cell.project_inputs(token), state)
        if name == "LEM":
            assert_close(theirs[1], state[1], rtol=0, atol=1e-12)
        else:
            output = theirs if isinstance(theirs, Tensor) else theirs[0]
            assert_close(output, state[0], rtol=0, atol=1e-12)
