"""Tests that each cell computes the equations of its paper."""

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import conv1d, layer_norm
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, State
from charlm.cells.depth_gated_lstm import Upper
from charlm.cells.linear_cell import LinearCell
from charlm.cells.lru import LRU
from charlm.cells.qrnn import QRNN
from charlm.errors import ConfigError
from charlm.kernels.loop import unroll_loop

TIME, BATCH, INPUTS, HIDDEN = 20, 3, 5, 8
WITHOUT_FORGET_GATE = {"rnn", "irnn", "attention", "orthogonal-rnn"}
WITH_OWN_TIME_CONSTANTS = {
    *("indrnn", "clockwork", "lru", "rg-lru", "slstm", "matrix-lstm", "retnet", "mamba2", "gla"),
    *("hgrn2", "mamba", "mamba3", "deltanet", "gated-deltanet", "deltaproduct", "rwkv7", "m2rnn"),
    "cornn",
}
WITH_FORGET_BIAS = [
    name for name in CELLS if name not in WITHOUT_FORGET_GATE | WITH_OWN_TIME_CONSTANTS
]


def randomized(name: str, inputs: int = INPUTS) -> Cell:
    """Return a float64 cell, none of whose parameters is at its initial value."""
    torch.manual_seed(1)
    cell = CELLS[name](inputs, HIDDEN).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def random_state(cell: Cell) -> State:
    return tuple(randn(*part.shape) for part in cell.initial_state(BATCH))


def all_states(cell: Cell, x: Tensor, state: State) -> list[State]:
    """Return the state after each token."""
    states = []
    for Wx in cell.project_inputs(x):
        state = cell.step(Wx, state)
        states.append(state)
    return states


def assert_equal_outputs(first: Cell, second: Cell, x: Tensor, state: State) -> None:
    with torch.no_grad():
        assert_close(
            unroll_loop(first, x, state), unroll_loop(second, x, state), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize(
    ("name", "zeroed"),
    [("peephole-lstm", "p"), ("mogrifier", "Q"), ("depth-gated-lstm", "")],
)
def test_lstm_variant_without_its_addition_is_lstm(name: str, zeroed: str) -> None:
    lstm, cell = randomized("lstm"), randomized(name)
    cell.load_state_dict(lstm.state_dict(), strict=False)
    for key, parameter in cell.named_parameters():
        if key.partition(".")[0] in {zeroed, {"Q": "R"}.get(zeroed)}:
            nn.init.zeros_(parameter)
    x, (h, c) = randn(TIME, BATCH, INPUTS), random_state(lstm)
    expected, last = unroll_loop(lstm, x, (h, c))
    joined = name == "depth-gated-lstm"
    outputs, end = unroll_loop(cell, x, (torch.cat((h, c), dim=-1),) if joined else (h, c))
    assert_close(outputs[..., :HIDDEN], expected, rtol=0, atol=1e-12)
    assert_close(torch.cat(end, dim=-1), torch.cat(last, dim=-1), rtol=0, atol=1e-12)


def test_peepholes_of_each_gate_see_the_right_cell_state() -> None:
    cell = randomized("peephole-lstm")
    p_i, p_f, p_o = cell.p.chunk(3)
    x, (h, c) = randn(1, BATCH, INPUTS), random_state(cell)
    i, f, g, o = (cell.W(x[0]) + cell.U(h)).chunk(4, dim=-1)
    new = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
    assert_close(cell.step(cell.W(x[0]), (h, c)), (sigmoid(o + p_o * new) * tanh(new), new))


def test_depth_gate_adds_cell_state_of_layer_below() -> None:
    """Closed, the layer is an LSTM of h below; open, all of the cell state below is added."""
    below = randomized("depth-gated-lstm")
    torch.manual_seed(3)
    upper = below.make_upper_layer(below).double()
    assert isinstance(upper, Upper) and isinstance(upper.make_upper_layer(upper), Upper)
    lstm = CELLS["lstm"](HIDDEN, HIDDEN).double()
    lstm.W.weight.data = upper.W.weight.data[: 4 * HIDDEN]
    lstm.W.bias.data = upper.W.bias.data[: 4 * HIDDEN]
    lstm.U.weight.data = upper.U.weight.data
    x, e = randn(BATCH, HIDDEN), randn(BATCH, HIDDEN)
    h, c = random_state(lstm)
    _, plain = lstm.step(lstm.project_inputs(x), (h, c))
    for bias, added in ((-1e3, 0), (1e3, 1)):
        nn.init.constant_(upper.W.bias.data[4 * HIDDEN :], bias)
        (after,) = upper.step(
            upper.project_inputs(torch.cat((x, e), dim=-1)), (torch.cat((h, c), dim=-1),)
        )
        assert_close(after[..., HIDDEN:], plain + added * e, rtol=0, atol=1e-12)
        assert_close(after.chunk(2, dim=-1)[0].abs() < 1, torch.ones_like(after[:, :HIDDEN]) > 0)
    nn.init.zeros_(upper.W.bias.data[4 * HIDDEN :])
    nn.init.zeros_(upper.W.weight.data[4 * HIDDEN :])
    nn.init.normal_(upper.w_c)
    nn.init.normal_(upper.w_e)
    (after,) = upper.step(
        upper.project_inputs(torch.cat((x, e), dim=-1)), (torch.cat((h, c), dim=-1),)
    )
    d = sigmoid(upper.w_c * c + upper.w_e * e)
    assert_close(after[..., HIDDEN:], plain + d * e, rtol=0, atol=1e-12)


def test_upper_layer_docstring_states_its_parameters() -> None:
    upper = Upper(2 * HIDDEN, HIDDEN)
    assert "Parameters: 4H(X + H + 1) + HX + 3H for X inputs" in (Upper.__doc__ or "")
    X = H = HIDDEN
    assert sum(p.numel() for p in upper.parameters()) == 4 * H * (X + H + 1) + H * X + 3 * H


def test_coupled_lstm_is_lstm_with_negated_gate() -> None:
    """The input gate has the negated weights of the forget gate: sigmoid(-a) = 1 - sigmoid(a)."""
    coupled, lstm = randomized("coupled-lstm"), randomized("lstm")
    with torch.no_grad():
        for part in (lambda cell: cell.W.weight, lambda cell: cell.U.weight, lambda c: c.W.bias):
            f, g, o = part(coupled).chunk(3)
            part(lstm).copy_(torch.cat((-f, f, g, o)))
    assert_equal_outputs(coupled, lstm, randn(TIME, BATCH, INPUTS), random_state(lstm))


@pytest.mark.parametrize("is_open", [True, False])
def test_both_grus_agree_with_reset_gate_open_or_closed(is_open: bool) -> None:
    before, after = randomized("gru-cho"), randomized("gru")
    with torch.no_grad():
        after.b.zero_()
        after.W.load_state_dict(before.W.state_dict())
        after.U.weight.copy_(torch.cat((before.U.weight, before.U_n.weight)))
        for cell in (before, after):
            cell.W.bias[:HIDDEN] = 1e3 if is_open else -1e3
    x, state = randn(TIME, BATCH, INPUTS), random_state(after)
    assert_equal_outputs(before, after, x, state)
    before.W.bias.data[:HIDDEN] = after.W.bias.data[:HIDDEN] = 0
    assert not torch.allclose(unroll_loop(before, x, state)[0], unroll_loop(after, x, state)[0])


def test_gru_cho_resets_before_the_product() -> None:
    cell, (h,), x = randomized("gru-cho"), random_state(randomized("gru-cho")), randn(BATCH, INPUTS)
    r, z, n = cell.W(x).chunk(3, dim=-1)
    U_r, U_z = cell.U.weight.chunk(2)
    r, z = sigmoid(r + h @ U_r.T), sigmoid(z + h @ U_z.T)
    n = tanh(n + (r * h) @ cell.U_n.weight.T)
    assert_close(cell.step(cell.W(x), (h,))[0], (1 - z) * n + z * h)


def test_irnn_retains_a_value_forever_at_first() -> None:
    cell = CELLS["irnn"](INPUTS, HIDDEN).double()
    state = (randn(BATCH, HIDDEN).abs(),)
    after = all_states(cell, torch.zeros(50, BATCH, INPUTS).double(), state)
    assert torch.equal(after[-1][0], state[0])
    assert cell.W.weight.std() < 0.002 and not cell.W.bias.any()


def test_clockwork_module_updates_at_its_period_across_cuts() -> None:
    cell, start = (
        randomized("clockwork"),
        CELLS["clockwork"](INPUTS, HIDDEN).double().initial_state(BATCH),
    )
    x = randn(300, BATCH, INPUTS)
    whole = [h for h, _ in all_states(cell, x, start)]
    first = all_states(cell, x[:131], start)
    pieces = [h for h, _ in first + all_states(cell, x[131:], first[-1])]
    for states in (whole, pieces):
        h = torch.stack([start[0], *states])
        moves = (h[1:] != h[:-1]).any(1)  # (time, units)
        for unit in range(HIDDEN):
            assert moves[:, unit].nonzero().flatten().tolist() == list(range(0, 300, 2**unit))
    assert_close(whole, pieces, rtol=0, atol=0)


def test_clockwork_module_reads_itself_and_slower_ones() -> None:
    cell = randomized("clockwork")
    h, t = randn(1, HIDDEN).requires_grad_(), torch.zeros(1, 1).double()
    out, _ = cell.step(cell.project_inputs(randn(1, INPUTS)), (h, t))
    for unit in range(HIDDEN):
        (reads,) = torch.autograd.grad(out[0, unit], h, retain_graph=True)
        assert (reads[0] != 0).tolist() == [other >= unit for other in range(HIDDEN)]


def test_layernorm_lstm_normalizes_both_products_and_cell_state() -> None:
    cell = CELLS["layernorm-lstm"](INPUTS, HIDDEN).double()
    nn.init.zeros_(cell.b)
    Wx = cell.project_inputs(100 * randn(BATCH, INPUTS))
    assert_close(Wx.mean(-1), torch.zeros(BATCH).double())
    assert_close(Wx.var(-1, correction=0), torch.ones(BATCH).double(), rtol=0, atol=1e-3)

    cell = randomized("layernorm-lstm")
    x, (h, c) = randn(BATCH, INPUTS), random_state(cell)
    width = (4 * HIDDEN,)
    projected = layer_norm(x @ cell.W.weight.T, width, eps=1e-5) * cell.norm_x.weight
    recurrent = layer_norm(h @ cell.U.weight.T, width, eps=1e-5) * cell.norm_h.weight
    i, f, g, o = (projected + recurrent + cell.b).chunk(4, dim=-1)
    c2 = sigmoid(f) * c + sigmoid(i) * tanh(g)
    normed = (c2 - c2.mean(-1, keepdim=True)) / (
        c2.var(-1, keepdim=True, correction=0) + 1e-5
    ) ** 0.5
    h2 = sigmoid(o) * tanh(normed * cell.norm_c.weight + cell.norm_c.bias)
    assert_close(cell.step(cell.project_inputs(x), (h, c)), (h2, c2))


def test_mul_lstm_is_lstm_of_the_product() -> None:
    cell, lstm = randomized("mul-lstm"), randomized("lstm")
    lstm.load_state_dict({k: v for k, v in cell.state_dict().items() if "_m" not in k})
    x, (h, c) = randn(BATCH, INPUTS), random_state(lstm)
    m = (x @ cell.W_m.weight.T) * (h @ cell.U_m.weight.T)
    assert_close(
        cell.step(cell.project_inputs(x), (h, c)), lstm.step(lstm.project_inputs(x), (m, c))
    )


def test_mogrifier_gates_x_and_h_in_turn() -> None:
    cell, lstm = randomized("mogrifier"), randomized("lstm")
    lstm.load_state_dict({k: v for k, v in cell.state_dict().items() if k[0] in "WU"})
    x, (h, c) = randn(BATCH, INPUTS), random_state(lstm)
    assert torch.equal(cell.project_inputs(x), x)
    state = cell.step(x, (h, c))
    for odd in range(3):
        x = 2 * sigmoid(h @ cell.Q[odd].weight.T) * x
        if odd < 2:
            h = 2 * sigmoid(x @ cell.R[odd].weight.T) * h
    assert_close(state, lstm.step(lstm.project_inputs(x), (h, c)))


@pytest.mark.parametrize("name", ["mingru", "minlstm", "qrnn"])
def test_linear_cell_interpolates_state_and_candidate(name: str) -> None:
    cell = randomized(name)
    assert isinstance(cell, LinearCell)
    Wx, _ = cell.apply_input_shift(
        cell.project_inputs(randn(TIME, BATCH, INPUTS)), random_state(cell)
    )
    a, b = cell.coefficients(Wx)
    n = tanh(Wx[..., :HIDDEN]) if name == "qrnn" else Wx[..., -HIDDEN:]
    assert ((a > 0) & (a < 1)).all()
    assert_close(b, (1 - a) * n, rtol=0, atol=1e-12)


def test_minlstm_with_both_gates_closed_is_finite() -> None:
    cell = CELLS["minlstm"](INPUTS, HIDDEN)
    a, b = cell.coefficients(torch.cat((-300 * torch.ones(16), torch.ones(8))))
    assert_close((a, b), (torch.full((8,), 0.5), torch.full((8,), 0.5)))
    f, i, _ = (randn(3, HIDDEN)).unbind()
    a, _ = cell.coefficients(torch.cat((f, i, f)))
    assert_close(a, sigmoid(f) / (sigmoid(f) + sigmoid(i)))


@pytest.mark.parametrize("name", [name for name in CELLS if issubclass(CELLS[name], LinearCell)])
def test_shift_coefficients_and_read_out_equal_step(name: str) -> None:
    """All time steps at once, from any state, as a scan does."""
    cell = randomized(name)
    assert isinstance(cell, LinearCell)
    x, state = randn(TIME, BATCH, INPUTS), random_state(cell)
    outputs, last = unroll_loop(cell, x, state)
    Wx, last_inputs = cell.apply_input_shift(cell.project_inputs(x), state)
    a, b = cell.coefficients(Wx)
    s = [state[int(cell.output_is_readout)]]
    for now in range(TIME):
        s.append(a[now] * s[-1] + b[now])
    states = torch.stack(s[1:])
    assert_close(
        cell.read_out(Wx, states) if cell.output_is_readout else states, outputs, rtol=0, atol=1e-12
    )
    assert_close(
        (outputs[-1], s[-1], *last_inputs)[not cell.output_is_readout :], last, rtol=0, atol=1e-12
    )


def test_qrnn_is_convolution_of_width_2_and_pooling() -> None:
    cell = randomized("qrnn")
    assert isinstance(cell, QRNN)
    x, start = (
        randn(TIME, BATCH, INPUTS),
        CELLS["qrnn"](INPUTS, HIDDEN).double().initial_state(BATCH),
    )
    kernel = torch.stack((cell.V.weight, cell.W.weight), dim=-1)
    padded = torch.cat((torch.zeros(1, BATCH, INPUTS), x)).permute(1, 2, 0)  # (batch, inputs, time)
    z, f, o = conv1d(padded, kernel, cell.W.bias).permute(2, 0, 1).chunk(3, dim=-1)
    c = start[1]
    for now, (h, carried, _) in enumerate(all_states(cell, x, start)):
        c = sigmoid(f[now]) * c + (1 - sigmoid(f[now])) * tanh(z[now])
        assert_close((h, carried), (sigmoid(o[now]) * c, c), rtol=0, atol=1e-12)


@pytest.mark.parametrize("inputs", [INPUTS, HIDDEN])
def test_sru_highway_connection_passes_input(inputs: int) -> None:
    cell = randomized("sru", inputs)
    x, (_, c) = randn(BATCH, inputs), random_state(cell)
    f, r = cell.W(x).chunk(2, dim=-1)
    v_f, v_r = cell.v.chunk(2)
    skip = 3**0.5 * x if cell.S is None else x @ cell.S.weight.T
    f, r = sigmoid(f + v_f * c), sigmoid(r + v_r * c)
    c2 = f * c + (1 - f) * (x @ cell.W_u.weight.T)
    state = cell.step(cell.project_inputs(x), (randn(BATCH, HIDDEN), c))
    assert_close(state, (r * c2 + (1 - r) * skip, c2))
    count = 4 * HIDDEN * inputs + 4 * HIDDEN - (HIDDEN * inputs if inputs == HIDDEN else 0)
    assert sum(p.numel() for p in cell.parameters()) == count


@pytest.mark.parametrize("inputs", [INPUTS, 64])
def test_sru_output_has_the_size_of_its_input_at_first(inputs: int) -> None:
    torch.manual_seed(0)
    cell = CELLS["sru"](inputs, 64).double()
    outputs, _ = unroll_loop(cell, randn(200, 64, inputs), cell.initial_state(64))
    assert 0.75 < outputs[100:].std() < 1.25


def test_indrnn_unit_sees_only_itself() -> None:
    cell = randomized("indrnn")
    (h,) = (part.requires_grad_() for part in random_state(cell))
    x = cell.project_inputs(randn(BATCH, INPUTS)) + 10
    (out,) = cell.step(x, (h,))
    assert_close(out, (x + cell.u * h).clamp(min=0))
    (reads,) = torch.autograd.grad(out.sum(), h)
    assert_close(reads, cell.u.expand(BATCH, HIDDEN))
    initial = CELLS["indrnn"](INPUTS, 1000).u
    assert initial.min() >= 0 and initial.max() < 1


def test_lru_is_complex_recurrence_and_convolution() -> None:
    cell = randomized("lru")
    assert isinstance(cell, LRU)
    x, state = randn(TIME, BATCH, INPUTS), random_state(cell)
    B_re, B_im, D = cell.W.weight.chunk(3)
    C_re, C_im = cell.C.weight[:, :HIDDEN], -cell.C.weight[:, HIDDEN:]
    B, C = torch.complex(B_re, B_im), torch.complex(C_re, C_im)
    L = torch.exp(-torch.exp(cell.nu) + 1j * torch.exp(cell.theta))
    assert_close(cell.spectrum(), L)
    Bx = torch.exp(cell.gamma) * (x.to(B.dtype) @ B.T)
    assert_close(cell.drive(cell.project_inputs(x)), Bx)
    first = torch.complex(*state[1].chunk(2, dim=-1))
    s = first
    for now, (y, carried) in enumerate(all_states(cell, x, state)):
        s = L * s + Bx[now]
        assert_close(carried, torch.cat((s.real, s.imag), dim=-1), rtol=0, atol=1e-12)
        assert_close(y, (s @ C.T).real + x[now] @ D.T, rtol=0, atol=1e-12)
        powers = L ** torch.arange(now + 1)[:, None]  # of the age of each token
        convolved = (powers.flip(0)[:, None] * Bx[: now + 1]).sum(0) + L ** (now + 1) * first
        assert_close(y, (convolved @ C.T).real + x[now] @ D.T, rtol=0, atol=1e-12)


def test_lru_starts_on_its_ring_with_normalized_state() -> None:
    torch.manual_seed(0)
    cell = LRU(INPUTS, 500).double()
    radius = cell.spectrum().abs()
    assert 0.9 <= radius.min() < 0.91 and 0.99 < radius.max() <= 0.999
    assert_close(torch.exp(cell.gamma) ** 2, 1 - radius**2, rtol=0, atol=1e-5)
    angle = cell.spectrum().angle()
    assert angle.min() < -3 and angle.max() > 3
    _, (_, s) = unroll_loop(
        cell, randn(300, 20, INPUTS), (randn(20, 500), 0.5**0.5 * randn(20, 1000))
    )
    assert 0.6 < s.std() < 0.8  # re and im share the variance 1


def test_rg_lru_retains_0_9_to_0_999_at_first() -> None:
    torch.manual_seed(0)
    cell = CELLS["rg-lru"](INPUTS, 500)
    assert isinstance(cell, LinearCell)
    open_, shut = torch.full((500,), 1e3), torch.full((500,), -1e3)
    a, b = cell.coefficients(torch.cat((torch.ones(500), open_, open_)))
    assert 0.9 <= a.min() < 0.91 and 0.99 < a.max() <= 0.9991
    assert_close(b, (1 - a * a).sqrt(), rtol=1e-3, atol=0)
    a, b = cell.coefficients(torch.cat((torch.ones(500), shut, open_)))
    assert (a == 1).all() and (b == 1e-3).all()
    cell = randomized("rg-lru")
    u = randn(BATCH, INPUTS) @ cell.W.weight.T
    r, i = sigmoid(cell.V(u)).chunk(2, dim=-1)
    a, b = cell.coefficients(torch.cat((u, cell.V(u)), dim=-1))
    assert_close(a, sigmoid(cell.L) ** (8 * r))
    assert_close(b, torch.sqrt(1 - a**2 + 1e-6) * i * u)


def naive_slstm(cell: Cell, x: Tensor) -> list[Tensor]:
    """Return the outputs of the paper's equations without a stabilizer, from zero."""
    h = c = n = torch.zeros(BATCH, HIDDEN).double()
    outputs = []
    U = torch.stack([torch.block_diag(*part) for part in cell.R]).flatten(0, 1)
    for Wx in cell.W(x):
        i, f, z, o = (Wx + h @ U.T).chunk(4, dim=-1)
        c = sigmoid(f) * c + torch.exp(i) * tanh(z)
        n = sigmoid(f) * n + torch.exp(i)
        h = sigmoid(o) * c / n
        outputs.append(h)
    return outputs


def test_slstm_equals_its_equations_without_stabilizer() -> None:
    cell, x = randomized("slstm"), randn(TIME, BATCH, INPUTS)
    states = all_states(cell, x, cell.initial_state(BATCH))
    assert_close([h for h, *_ in states], naive_slstm(cell, x), rtol=0, atol=1e-12)
    assert all((n >= 1).all() for _, _, n, _ in states)
    shifted = [part.clone() for part in states[4]]
    shifted[1], shifted[2] = shifted[1] * torch.e, shifted[2] * torch.e
    shifted[3] = shifted[3] - 1
    after, _ = unroll_loop(cell, x[5:], tuple(shifted))
    assert_close(after, torch.stack([h for h, *_ in states[5:]]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["slstm", "matrix-lstm"])
def test_exponential_gates_do_not_overflow(name: str) -> None:
    cell = CELLS[name](INPUTS, HIDDEN)
    nn.init.normal_(cell.W.weight, std=300)
    outputs, last = unroll_loop(cell, torch.randn(TIME, BATCH, INPUTS), cell.initial_state(BATCH))
    sum(part.sum() for part in last).backward()
    assert outputs.isfinite().all() and outputs.abs().max() > 0
    assert all(p.grad.isfinite().all() for p in cell.parameters() if p.grad is not None)


def test_matrix_lstm_is_weighted_sum_over_the_past() -> None:
    """h = o sum(w v (k q)) / max(|sum(w k q)|, 1): w the input gate and the forget gates since."""
    cell, x = randomized("matrix-lstm"), randn(TIME, BATCH, INPUTS)
    outputs, _ = unroll_loop(cell, x, cell.initial_state(BATCH))
    Wx = cell.W(x)
    q, k, v = (part.unflatten(-1, (4, 2)) for part in Wx[..., : 3 * HIDDEN].chunk(3, dim=-1))
    o, i, f = Wx[..., 3 * HIDDEN :].split([HIDDEN, 4, 4], dim=-1)
    for now in range(TIME):
        numerator, denominator = torch.zeros(BATCH, 4, 2).double(), torch.zeros(BATCH, 4).double()
        for then in range(now + 1):
            w = torch.exp(i[then]) * sigmoid(f[then + 1 : now + 1]).prod(0)
            match = w * (k[then] * q[now]).sum(-1) / 2**0.5
            numerator, denominator = numerator + match[..., None] * v[then], denominator + match
        h = sigmoid(o[now]) * (numerator / denominator.abs().clamp(min=1)[..., None]).flatten(1)
        assert_close(outputs[now], h, rtol=0, atol=1e-12)


def memory(cell: Cell, state: State) -> Tensor:
    """Return the cell state or, if there is none, the output."""
    name = next(name for name in ("hc", "c", "h") if name in cell.states)
    part = state[cell.states.index(name)]
    return part[..., HIDDEN:] if name == "hc" else part


@pytest.mark.parametrize("name", WITH_FORGET_BIAS)
def test_retention_bias_sets_retained_fraction(name: str) -> None:
    """All other parameters are 0, and so is what is written."""
    cell = randomized(name)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    bias = randn(HIDDEN)
    for write in (None, randn(HIDDEN)):
        cell.init_retention_bias(bias, write)
        start = cell.initial_state(BATCH)
        memory(cell, start).normal_()
        after = cell.step(cell.project_inputs(torch.zeros(BATCH, INPUTS).double()), start)
        assert memory(cell, start).abs().min() > 0
        retained = memory(cell, after) / memory(cell, start)
        assert_close(retained, sigmoid(bias).expand_as(retained))


@pytest.mark.parametrize("name", WITH_FORGET_BIAS)
def test_cells_retain_sigmoid_1_at_first(name: str) -> None:
    cell = CELLS[name](INPUTS, HIDDEN)
    before = {key: value.clone() for key, value in cell.state_dict().items()}
    cell.init_retention_bias(torch.ones(HIDDEN))
    for key, value in before.items():
        assert torch.equal(cell.state_dict()[key], value), key


@pytest.mark.parametrize("name", sorted(WITHOUT_FORGET_GATE))
def test_cell_without_forget_gate_refuses_forget_bias(name: str) -> None:
    with pytest.raises(ConfigError, match="has no forget gate"):
        CELLS[name](INPUTS, HIDDEN).init_retention_bias(torch.ones(HIDDEN))


@pytest.mark.parametrize("name", sorted(WITH_OWN_TIME_CONSTANTS))
def test_forget_bias_does_not_overwrite_time_constants_of_the_cell(name: str) -> None:
    cell = CELLS[name](INPUTS, HIDDEN)
    before = {key: value.clone() for key, value in cell.state_dict().items()}
    with pytest.raises(ConfigError, match=f"{name} starts with time constants of its own"):
        cell.init_retention_bias(torch.ones(HIDDEN))
    assert all(torch.equal(value, before[key]) for key, value in cell.state_dict().items())


def initial_retention(name: str, hidden_size: int) -> Tensor:
    """Return the fraction that each unit or head of a new cell retains of the zero state."""
    torch.manual_seed(1)
    cell = CELLS[name](INPUTS, hidden_size)
    cell.recorded = {}
    with torch.no_grad():
        cell.step(cell.project_inputs(torch.zeros(1, INPUTS)), cell.initial_state(1))
    return cell.retention(cell.recorded)


def test_heads_of_the_matrix_lstm_start_by_retaining_as_published() -> None:
    """Beck et al. (2024), code: biases from 3 to 6 over the heads, and no weights."""
    (retained,) = initial_retention("matrix-lstm", HIDDEN)
    assert_close(retained, sigmoid(torch.tensor([3.0, 4.0, 5.0, 6.0])))
    cell = CELLS["matrix-lstm"](INPUTS, 4000)
    assert not cell.W.weight[4 * 4000 :].any()
    drawn = torch.stack([CELLS["matrix-lstm"](INPUTS, 4).W.bias[16:20] for _ in range(200)])
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 0.1) < 0.02


def test_slstm_starts_without_recurrence_and_with_a_power_law_of_forgetting() -> None:
    """Beck et al. (2024), code: in each head b_f falls from 5 to -7, all else starts at 0."""
    cell = CELLS["slstm"](INPUTS, 4 * 13)
    i, f, z, o = cell.W.bias.detach().chunk(4)
    assert not cell.R.any() and not torch.stack((i, z, o)).any()
    heads = f.unflatten(0, (4, 13))
    assert (heads == heads[0]).all() and (heads.diff() < 0).all()
    assert (heads[0, 0], heads[0, -1]) == (5, -7)
    assert heads[0, 6].item() == pytest.approx(5 - 12 * 0.5**0.3)
    (one,) = CELLS["slstm"](INPUTS, 4).W.bias.detach().chunk(4)[1].unique()  # heads of one unit
    assert one == 5


def test_rg_lru_starts_on_the_ring_of_its_paper() -> None:
    """De et al. (2024): where r = 1, the fraction retained is uniform between 0.9 and 0.999."""
    torch.manual_seed(1)
    cell = CELLS["rg-lru"](INPUTS, 4000)
    ring = sigmoid(cell.L.detach().double()) ** 8
    assert 0.9 <= ring.min() < 0.901 and 0.998 < ring.max() <= 0.9991
    assert ring.mean().item() == pytest.approx((0.9 + 0.999) / 2, abs=0.002)
    assert not cell.V.bias.any()
    assert cell.V.weight.std().item() == pytest.approx(4000**-0.5, rel=0.01)
    retained = initial_retention("rg-lru", 4000)  # without an input r is 1/2
    assert 0.948 < retained.min() < 0.95 and 0.999 < retained.max() < 0.9996


LSTMS = ["lstm", "peephole-lstm", "mul-lstm", "mogrifier", "depth-gated-lstm", "layernorm-lstm"]


@pytest.mark.parametrize("name", LSTMS)
def test_write_bias_sets_the_input_gate(name: str) -> None:
    cell = randomized(name)
    bias = cell.get_parameter("b" if name == "layernorm-lstm" else "W.bias")[:HIDDEN]
    write, before = randn(HIDDEN), bias.clone()
    cell.init_retention_bias(randn(HIDDEN))
    assert torch.equal(bias, before)
    cell.init_retention_bias(randn(HIDDEN), write)
    assert_close(bias, write)


@pytest.mark.parametrize(
    ("name", "count"),
    [("rnn", 1), ("irnn", 1), ("gru", 3), ("gru-cho", 3), ("coupled-lstm", 3), ("mul-lstm", 5)]
    + [("slstm", 16), ("indrnn", 0), ("clockwork", 0), ("lru", 0), ("rg-lru", 0), ("sru", 0)]
    + [(name, 4) for name in LSTMS if name != "mul-lstm"],
)
def test_recurrent_matrices_are_complete_and_views(name: str, count: int) -> None:
    cell = randomized(name)
    assert len(list(cell.recurrent_matrices())) == count
    for matrix in cell.recurrent_matrices():
        assert matrix.shape[0] == matrix.shape[1]
        matrix.zero_()
    state = [part.requires_grad_() for part in random_state(cell)]
    if count:  # then the last output matters only where a gate retains it
        Wx = cell.project_inputs(randn(BATCH, INPUTS))
        (new,) = torch.autograd.grad(cell.step(Wx, tuple(state))[0].sum(), state[0])
        other_ways = {"gru", "gru-cho", "depth-gated-lstm", "mogrifier"}
        assert bool(new.any()) == (name in other_ways)
