"""What makes each cell the one of its paper, and not another."""

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import conv1d, layer_norm
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, LinearCell, State
from charlm.cells.depth_gated_lstm import Upper
from charlm.cells.lru import LRU
from charlm.cells.qrnn import QRNN
from charlm.errors import ConfigError
from charlm.kernels.loop import unroll_loop

TIME, BATCH, INPUTS, HIDDEN = 20, 3, 5, 8
NO_GATE = {"rnn", "irnn", "indrnn", "clockwork", "lru", "attention"}


def made(name: str, inputs: int = INPUTS) -> Cell:
    """A cell in float64, none of whose weights is at its convenient beginning."""
    torch.manual_seed(1)
    cell = CELLS[name](inputs, HIDDEN).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def somewhere(cell: Cell) -> State:
    return tuple(some(*part.shape) for part in cell.initial_state(BATCH))


def walked(cell: Cell, x: Tensor, state: State) -> list[State]:
    """The state after each character."""
    states = []
    for Wx in cell.project_inputs(x):
        state = cell.step(Wx, state)
        states.append(state)
    return states


def same(one: Cell, other: Cell, x: Tensor, state: State) -> None:
    with torch.no_grad():
        assert_close(unroll_loop(one, x, state), unroll_loop(other, x, state), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "silenced"),
    [("peephole-lstm", "p"), ("mogrifier", "Q"), ("depth-gated-lstm", "")],
)
def test_without_what_is_new_in_it_it_is_the_lstm(name: str, silenced: str) -> None:
    lstm, cell = made("lstm"), made(name)
    cell.load_state_dict(lstm.state_dict(), strict=False)
    for key, parameter in cell.named_parameters():
        if key.partition(".")[0] in {silenced, {"Q": "R"}.get(silenced)}:
            nn.init.zeros_(parameter)
    x, (h, c) = some(TIME, BATCH, INPUTS), somewhere(lstm)
    wanted, last = unroll_loop(lstm, x, (h, c))
    joined = name == "depth-gated-lstm"
    got, end = unroll_loop(cell, x, (torch.cat((h, c), dim=-1),) if joined else (h, c))
    assert_close(got[..., :HIDDEN], wanted, rtol=0, atol=1e-12)
    assert_close(torch.cat(end, dim=-1), torch.cat(last, dim=-1), rtol=0, atol=1e-12)


def test_each_peephole_sees_its_own_gate_s_cell_state() -> None:
    cell = made("peephole-lstm")
    p_i, p_f, p_o = cell.p.chunk(3)
    x, (h, c) = some(1, BATCH, INPUTS), somewhere(cell)
    i, f, g, o = (cell.W(x[0]) + cell.U(h)).chunk(4, dim=-1)
    new = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
    assert_close(cell.step(cell.W(x[0]), (h, c)), (sigmoid(o + p_o * new) * tanh(new), new))


def test_the_depth_gate_lets_the_cell_state_below_through() -> None:
    """Shut, the layer is an LSTM of h below; open, the whole cell state below is added."""
    below = made("depth-gated-lstm")
    torch.manual_seed(3)
    upper = below.make_upper_layer(below).double()
    assert isinstance(upper, Upper) and isinstance(upper.make_upper_layer(upper), Upper)
    lstm = CELLS["lstm"](HIDDEN, HIDDEN).double()
    lstm.W.weight.data = upper.W.weight.data[: 4 * HIDDEN]
    lstm.W.bias.data = upper.W.bias.data[: 4 * HIDDEN]
    lstm.U.weight.data = upper.U.weight.data
    x, e = some(BATCH, HIDDEN), some(BATCH, HIDDEN)
    h, c = somewhere(lstm)
    _, plain = lstm.step(lstm.project_inputs(x), (h, c))
    for bias, added in ((-1e3, 0), (1e3, 1)):
        nn.init.constant_(upper.W.bias.data[4 * HIDDEN :], bias)
        (after,) = upper.step(
            upper.project(torch.cat((x, e), dim=-1)), (torch.cat((h, c), dim=-1),)
        )
        assert_close(after[..., HIDDEN:], plain + added * e, rtol=0, atol=1e-12)
        assert_close(after.chunk(2, dim=-1)[0].abs() < 1, torch.ones_like(after[:, :HIDDEN]) > 0)
    nn.init.zeros_(upper.W.bias.data[4 * HIDDEN :])
    nn.init.zeros_(upper.W.weight.data[4 * HIDDEN :])
    nn.init.normal_(upper.w_c)
    nn.init.normal_(upper.w_e)
    (after,) = upper.step(upper.project(torch.cat((x, e), dim=-1)), (torch.cat((h, c), dim=-1),))
    d = sigmoid(upper.w_c * c + upper.w_e * e)
    assert_close(after[..., HIDDEN:], plain + d * e, rtol=0, atol=1e-12)


def test_the_upper_layers_parameters_are_as_many_as_its_docstring_says() -> None:
    upper = Upper(2 * HIDDEN, HIDDEN)
    assert "Parameters: 4H(X + H + 1) + HX + 3H for X inputs" in (Upper.__doc__ or "")
    X = H = HIDDEN
    assert sum(p.numel() for p in upper.parameters()) == 4 * H * (X + H + 1) + H * X + 3 * H


def test_the_coupled_lstm_writes_what_it_forgets() -> None:
    """An LSTM whose input gate has minus the forget gate's weights: sigmoid(-a), 1 - sigmoid(a)."""
    coupled, lstm = made("coupled-lstm"), made("lstm")
    with torch.no_grad():
        for part in (lambda cell: cell.W.weight, lambda cell: cell.U.weight, lambda c: c.W.bias):
            f, g, o = part(coupled).chunk(3)
            part(lstm).copy_(torch.cat((-f, f, g, o)))
    same(coupled, lstm, some(TIME, BATCH, INPUTS), somewhere(lstm))


@pytest.mark.parametrize("open_", [True, False])
def test_both_grus_are_one_where_the_reset_gate_is_open_or_shut(open_: bool) -> None:
    before, after = made("gru-cho"), made("gru")
    with torch.no_grad():
        after.b.zero_()
        after.W.load_state_dict(before.W.state_dict())
        after.U.weight.copy_(torch.cat((before.U.weight, before.U_n.weight)))
        for cell in (before, after):
            cell.W.bias[:HIDDEN] = 1e3 if open_ else -1e3
    x, state = some(TIME, BATCH, INPUTS), somewhere(after)
    same(before, after, x, state)
    before.W.bias.data[:HIDDEN] = after.W.bias.data[:HIDDEN] = 0
    assert not torch.allclose(unroll_loop(before, x, state)[0], unroll_loop(after, x, state)[0])


def test_the_grus_candidate_sees_the_past_reset_before_the_product() -> None:
    cell, (h,), x = made("gru-cho"), somewhere(made("gru-cho")), some(BATCH, INPUTS)
    r, z, n = cell.W(x).chunk(3, dim=-1)
    U_r, U_z = cell.U.weight.chunk(2)
    r, z = sigmoid(r + h @ U_r.T), sigmoid(z + h @ U_z.T)
    n = tanh(n + (r * h) @ cell.U_n.weight.T)
    assert_close(cell.step(cell.W(x), (h,))[0], (1 - z) * n + z * h)


def test_the_irnn_holds_a_value_for_ever_at_first() -> None:
    cell = CELLS["irnn"](INPUTS, HIDDEN).double()
    state = (some(BATCH, HIDDEN).abs(),)
    after = walked(cell, torch.zeros(50, BATCH, INPUTS).double(), state)
    assert torch.equal(after[-1][0], state[0])
    assert cell.W.weight.std() < 0.002 and not cell.W.bias.any()


def test_a_module_of_the_clockwork_moves_at_its_period_also_where_the_text_is_cut() -> None:
    cell, start = (
        made("clockwork"),
        CELLS["clockwork"](INPUTS, HIDDEN).double().initial_state(BATCH),
    )
    x = some(300, BATCH, INPUTS)
    whole = [h for h, _ in walked(cell, x, start)]
    first = walked(cell, x[:131], start)
    pieces = [h for h, _ in first + walked(cell, x[131:], first[-1])]
    for states in (whole, pieces):
        h = torch.stack([start[0], *states])
        moves = (h[1:] != h[:-1]).any(1)  # (time, units)
        for unit in range(HIDDEN):
            assert moves[:, unit].nonzero().flatten().tolist() == list(range(0, 300, 2**unit))
    assert_close(whole, pieces, rtol=0, atol=0)


def test_a_module_of_the_clockwork_reads_only_itself_and_slower_ones() -> None:
    cell = made("clockwork")
    h, t = some(1, HIDDEN).requires_grad_(), torch.zeros(1, 1).double()
    out, _ = cell.step(cell.project_inputs(some(1, INPUTS)), (h, t))
    for unit in range(HIDDEN):
        (reads,) = torch.autograd.grad(out[0, unit], h, retain_graph=True)
        assert (reads[0] != 0).tolist() == [other >= unit for other in range(HIDDEN)]


def test_what_enters_the_gates_of_the_layernorm_lstm_has_mean_0_and_variance_1() -> None:
    cell = CELLS["layernorm-lstm"](INPUTS, HIDDEN).double()
    nn.init.zeros_(cell.b)
    Wx = cell.project_inputs(100 * some(BATCH, INPUTS))
    assert_close(Wx.mean(-1), torch.zeros(BATCH).double())
    assert_close(Wx.var(-1, correction=0), torch.ones(BATCH).double(), rtol=0, atol=1e-3)

    cell = made("layernorm-lstm")
    x, (h, c) = some(BATCH, INPUTS), somewhere(cell)
    width = (4 * HIDDEN,)
    said = layer_norm(x @ cell.W.weight.T, width, eps=1e-5) * cell.norm_x.weight
    heard = layer_norm(h @ cell.U.weight.T, width, eps=1e-5) * cell.norm_h.weight
    i, f, g, o = (said + heard + cell.b).chunk(4, dim=-1)
    c2 = sigmoid(f) * c + sigmoid(i) * tanh(g)
    normed = (c2 - c2.mean(-1, keepdim=True)) / (
        c2.var(-1, keepdim=True, correction=0) + 1e-5
    ) ** 0.5
    h2 = sigmoid(o) * tanh(normed * cell.norm_c.weight + cell.norm_c.bias)
    assert_close(cell.step(cell.project_inputs(x), (h, c)), (h2, c2))


def test_the_mul_lstm_is_an_lstm_of_the_product() -> None:
    cell, lstm = made("mul-lstm"), made("lstm")
    lstm.load_state_dict({k: v for k, v in cell.state_dict().items() if "_m" not in k})
    x, (h, c) = some(BATCH, INPUTS), somewhere(lstm)
    m = (x @ cell.W_m.weight.T) * (h @ cell.U_m.weight.T)
    assert_close(
        cell.step(cell.project_inputs(x), (h, c)), lstm.step(lstm.project_inputs(x), (m, c))
    )


def test_the_mogrifier_gates_x_and_h_by_turns() -> None:
    cell, lstm = made("mogrifier"), made("lstm")
    lstm.load_state_dict({k: v for k, v in cell.state_dict().items() if k[0] in "WU"})
    x, (h, c) = some(BATCH, INPUTS), somewhere(lstm)
    assert torch.equal(cell.project_inputs(x), x)
    wanted = cell.step(x, (h, c))
    for odd in range(3):
        x = 2 * sigmoid(h @ cell.Q[odd].weight.T) * x
        if odd < 2:
            h = 2 * sigmoid(x @ cell.R[odd].weight.T) * h
    assert_close(wanted, lstm.step(lstm.project_inputs(x), (h, c)))


@pytest.mark.parametrize("name", ["mingru", "minlstm", "qrnn"])
def test_it_mixes_what_it_holds_with_the_candidate_and_never_exceeds_both(name: str) -> None:
    cell = made(name)
    assert isinstance(cell, LinearCell)
    Wx, _ = cell.apply_input_shift(cell.project_inputs(some(TIME, BATCH, INPUTS)), somewhere(cell))
    a, b = cell.coefficients(Wx)
    n = tanh(Wx[..., :HIDDEN]) if name == "qrnn" else Wx[..., -HIDDEN:]
    assert ((a > 0) & (a < 1)).all()
    assert_close(b, (1 - a) * n, rtol=0, atol=1e-12)


def test_the_gates_of_minlstm_may_both_be_shut() -> None:
    cell = CELLS["minlstm"](INPUTS, HIDDEN)
    a, b = cell.coefficients(torch.cat((-300 * torch.ones(16), torch.ones(8))))
    assert_close((a, b), (torch.full((8,), 0.5), torch.full((8,), 0.5)))
    f, i, _ = (some(3, HIDDEN)).unbind()
    a, _ = cell.coefficients(torch.cat((f, i, f)))
    assert_close(a, sigmoid(f) / (sigmoid(f) + sigmoid(i)))


@pytest.mark.parametrize("name", [name for name in CELLS if issubclass(CELLS[name], LinearCell)])
def test_all_of_time_at_once_is_the_walk(name: str) -> None:
    """From any state, as a scan would: shifted, coefficients and read say what step does."""
    cell = made(name)
    assert isinstance(cell, LinearCell)
    x, state = some(TIME, BATCH, INPUTS), somewhere(cell)
    outputs, last = unroll_loop(cell, x, state)
    Wx, rest = cell.apply_input_shift(cell.project_inputs(x), state)
    a, b = cell.coefficients(Wx)
    s = [state[int(cell.output_is_readout)]]
    for now in range(TIME):
        s.append(a[now] * s[-1] + b[now])
    held = torch.stack(s[1:])
    assert_close(
        cell.read_out(Wx, held) if cell.output_is_readout else held, outputs, rtol=0, atol=1e-12
    )
    assert_close(
        (outputs[-1], s[-1], *rest)[not cell.output_is_readout :], last, rtol=0, atol=1e-12
    )


def test_the_qrnn_is_a_convolution_of_width_2_and_a_pool() -> None:
    cell = made("qrnn")
    assert isinstance(cell, QRNN)
    x, start = (
        some(TIME, BATCH, INPUTS),
        CELLS["qrnn"](INPUTS, HIDDEN).double().initial_state(BATCH),
    )
    kernel = torch.stack((cell.V.weight, cell.W.weight), dim=-1)
    padded = torch.cat((torch.zeros(1, BATCH, INPUTS), x)).permute(1, 2, 0)  # (batch, inputs, time)
    z, f, o = conv1d(padded, kernel, cell.W.bias).permute(2, 0, 1).chunk(3, dim=-1)
    c = start[1]
    for now, (h, held, _) in enumerate(walked(cell, x, start)):
        c = sigmoid(f[now]) * c + (1 - sigmoid(f[now])) * tanh(z[now])
        assert_close((h, held), (sigmoid(o[now]) * c, c), rtol=0, atol=1e-12)


@pytest.mark.parametrize("inputs", [INPUTS, HIDDEN])
def test_the_sru_lets_the_input_by(inputs: int) -> None:
    cell = made("sru", inputs)
    x, (_, c) = some(BATCH, inputs), somewhere(cell)
    f, r = cell.W(x).chunk(2, dim=-1)
    v_f, v_r = cell.v.chunk(2)
    skip = 3**0.5 * x if cell.S is None else x @ cell.S.weight.T
    f, r = sigmoid(f + v_f * c), sigmoid(r + v_r * c)
    c2 = f * c + (1 - f) * (x @ cell.W_u.weight.T)
    got = cell.step(cell.project_inputs(x), (some(BATCH, HIDDEN), c))
    assert_close(got, (r * c2 + (1 - r) * skip, c2))
    count = 4 * HIDDEN * inputs + 4 * HIDDEN - (HIDDEN * inputs if inputs == HIDDEN else 0)
    assert sum(p.numel() for p in cell.parameters()) == count


@pytest.mark.parametrize("inputs", [INPUTS, 64])
def test_the_srus_output_is_as_large_as_its_input_at_first(inputs: int) -> None:
    torch.manual_seed(0)
    cell = CELLS["sru"](inputs, 64).double()
    outputs, _ = unroll_loop(cell, some(200, 64, inputs), cell.initial_state(64))
    assert 0.75 < outputs[100:].std() < 1.25


def test_a_unit_of_the_indrnn_sees_only_itself() -> None:
    cell = made("indrnn")
    (h,) = (part.requires_grad_() for part in somewhere(cell))
    x = cell.project_inputs(some(BATCH, INPUTS)) + 10
    (out,) = cell.step(x, (h,))
    assert_close(out, (x + cell.u * h).clamp(min=0))
    (reads,) = torch.autograd.grad(out.sum(), h)
    assert_close(reads, cell.u.expand(BATCH, HIDDEN))
    begun = CELLS["indrnn"](INPUTS, 1000).u
    assert begun.min() >= 0 and begun.max() < 1


def test_the_lru_is_its_complex_recurrence_and_its_convolution() -> None:
    cell = made("lru")
    assert isinstance(cell, LRU)
    x, state = some(TIME, BATCH, INPUTS), somewhere(cell)
    B_re, B_im, D = cell.W.weight.chunk(3)
    C_re, C_im = cell.C.weight[:, :HIDDEN], -cell.C.weight[:, HIDDEN:]
    B, C = torch.complex(B_re, B_im), torch.complex(C_re, C_im)
    L = torch.exp(-torch.exp(cell.nu) + 1j * torch.exp(cell.theta))
    assert_close(cell.spectrum(), L)
    Bx = torch.exp(cell.gamma) * (x.to(B.dtype) @ B.T)
    assert_close(cell.drive(cell.project_inputs(x)), Bx)
    first = torch.complex(*state[1].chunk(2, dim=-1))
    s = first
    for now, (y, carried) in enumerate(walked(cell, x, state)):
        s = L * s + Bx[now]
        assert_close(carried, torch.cat((s.real, s.imag), dim=-1), rtol=0, atol=1e-12)
        assert_close(y, (s @ C.T).real + x[now] @ D.T, rtol=0, atol=1e-12)
        powers = L ** torch.arange(now + 1)[:, None]  # of each character's age
        told = (powers.flip(0)[:, None] * Bx[: now + 1]).sum(0) + L ** (now + 1) * first
        assert_close(y, (told @ C.T).real + x[now] @ D.T, rtol=0, atol=1e-12)


def test_the_lru_begins_on_its_ring_and_its_state_has_the_size_of_what_drives_it() -> None:
    torch.manual_seed(0)
    cell = LRU(INPUTS, 500).double()
    size = cell.spectrum().abs()
    assert 0.9 <= size.min() < 0.91 and 0.99 < size.max() <= 0.999
    assert_close(torch.exp(cell.gamma) ** 2, 1 - size**2, rtol=0, atol=1e-5)
    angle = cell.spectrum().angle()
    assert angle.min() < -3 and angle.max() > 3
    _, (_, s) = unroll_loop(cell, some(300, 20, INPUTS), (some(20, 500), 0.5**0.5 * some(20, 1000)))
    assert 0.6 < s.std() < 0.8  # re and im share the variance 1


def test_the_rg_lru_keeps_between_0_9_and_0_999_at_first() -> None:
    torch.manual_seed(0)
    cell = CELLS["rg-lru"](INPUTS, 500)
    assert isinstance(cell, LinearCell)
    open_, shut = torch.full((500,), 1e3), torch.full((500,), -1e3)
    a, b = cell.coefficients(torch.cat((torch.ones(500), open_, open_)))
    assert 0.9 <= a.min() < 0.91 and 0.99 < a.max() <= 0.9991
    assert_close(b, (1 - a * a).sqrt(), rtol=1e-3, atol=0)
    a, b = cell.coefficients(torch.cat((torch.ones(500), shut, open_)))
    assert (a == 1).all() and (b == 1e-3).all()
    cell = made("rg-lru")
    u = some(BATCH, INPUTS) @ cell.W.weight.T
    r, i = sigmoid(cell.V(u)).chunk(2, dim=-1)
    a, b = cell.coefficients(torch.cat((u, cell.V(u)), dim=-1))
    assert_close(a, sigmoid(cell.L) ** (8 * r))
    assert_close(b, torch.sqrt(1 - a**2 + 1e-6) * i * u)


def naive_slstm(cell: Cell, x: Tensor) -> list[Tensor]:
    """The paper's equations without a stabiliser, from nothing."""
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


def test_the_slstm_is_its_equations_without_the_stabiliser() -> None:
    cell, x = made("slstm"), some(TIME, BATCH, INPUTS)
    states = walked(cell, x, cell.initial_state(BATCH))
    assert_close([h for h, *_ in states], naive_slstm(cell, x), rtol=0, atol=1e-12)
    assert all((n >= 1).all() for _, _, n, _ in states)
    shifted = [part.clone() for part in states[4]]
    shifted[1], shifted[2] = shifted[1] * torch.e, shifted[2] * torch.e
    shifted[3] = shifted[3] - 1
    after, _ = unroll_loop(cell, x[5:], tuple(shifted))
    assert_close(after, torch.stack([h for h, *_ in states[5:]]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["slstm", "matrix-lstm"])
def test_no_exponential_overflows(name: str) -> None:
    cell = CELLS[name](INPUTS, HIDDEN)
    nn.init.normal_(cell.W.weight, std=300)
    outputs, last = unroll_loop(cell, torch.randn(TIME, BATCH, INPUTS), cell.initial_state(BATCH))
    sum(part.sum() for part in last).backward()
    assert outputs.isfinite().all() and outputs.abs().max() > 0
    assert all(p.grad.isfinite().all() for p in cell.parameters() if p.grad is not None)


def test_the_matrix_lstm_is_a_sum_over_the_past() -> None:
    """h = o sum(w v (k q)) / max(|sum(w k q)|, 1): w the input gate and the forget gates since."""
    cell, x = made("matrix-lstm"), some(TIME, BATCH, INPUTS)
    outputs, _ = unroll_loop(cell, x, cell.initial_state(BATCH))
    Wx = cell.W(x)
    q, k, v = (part.unflatten(-1, (4, 2)) for part in Wx[..., : 3 * HIDDEN].chunk(3, dim=-1))
    o, i, f = Wx[..., 3 * HIDDEN :].split([HIDDEN, 4, 4], dim=-1)
    for now in range(TIME):
        above, below = torch.zeros(BATCH, 4, 2).double(), torch.zeros(BATCH, 4).double()
        for then in range(now + 1):
            w = torch.exp(i[then]) * sigmoid(f[then + 1 : now + 1]).prod(0)
            match = w * (k[then] * q[now]).sum(-1) / 2**0.5
            above, below = above + match[..., None] * v[then], below + match
        h = sigmoid(o[now]) * (above / below.abs().clamp(min=1)[..., None]).flatten(1)
        assert_close(outputs[now], h, rtol=0, atol=1e-12)


def held(cell: Cell, state: State) -> Tensor:
    """What the cell remembers with: its cell state or, where it has none, its output."""
    name = next(name for name in ("hc", "C", "c", "h") if name in cell.states)
    part = state[cell.states.index(name)]
    if name == "hc":
        part = part[..., HIDDEN:]
    if "m" in cell.states:
        m = state[cell.states.index("m")]
        part = part * torch.exp(m.reshape(*m.shape, *(1,) * (part.dim() - m.dim())))
    return part


@pytest.mark.parametrize("name", [name for name in CELLS if name not in NO_GATE])
def test_keep_is_the_share_of_what_is_held_that_stays(name: str) -> None:
    """Where all else is 0, also what would be written."""
    cell = made(name)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    bias = some(HIDDEN)
    share = sigmoid(bias)
    if name == "matrix-lstm":  # each head has one gate
        share = share[::2, None, None]
    for write in (None, some(HIDDEN)):
        cell.init_retention_bias(bias, write)
        start = cell.initial_state(BATCH)
        held(cell, start).normal_() if "m" not in cell.states else start[1].normal_()
        after = cell.step(cell.project_inputs(torch.zeros(BATCH, INPUTS).double()), start)
        assert held(cell, start).abs().min() > 0
        assert_close(held(cell, after) / held(cell, start), share.expand_as(held(cell, start)))


@pytest.mark.parametrize("name", [name for name in CELLS if name not in NO_GATE])
def test_a_gate_begins_by_keeping_sigmoid_1(name: str) -> None:
    cell = CELLS[name](INPUTS, HIDDEN)
    before = {key: value.clone() for key, value in cell.state_dict().items()}
    cell.init_retention_bias(torch.ones(HIDDEN))
    if name == "rg-lru":  # which begins at every pace
        before.pop("L")
    for key, value in before.items():
        assert torch.equal(cell.state_dict()[key], value), key


@pytest.mark.parametrize("name", sorted(NO_GATE))
def test_a_cell_without_a_gate_that_keeps_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match="has no gate that keeps"):
        CELLS[name](INPUTS, HIDDEN).init_retention_bias(torch.ones(HIDDEN))


LSTMS = ["lstm", "peephole-lstm", "mul-lstm", "mogrifier", "depth-gated-lstm", "layernorm-lstm"]


@pytest.mark.parametrize("name", [*LSTMS, "slstm", "matrix-lstm", "rg-lru"])
def test_the_gate_that_writes_is_set_where_it_is_one_of_its_own(name: str) -> None:
    cell = made(name)
    bias = {"layernorm-lstm": "b", "rg-lru": "V.bias"}.get(name, "W.bias")
    at = {"matrix-lstm": slice(-8, -4), "rg-lru": slice(8, 16)}.get(name, slice(8))
    write, before = some(HIDDEN), cell.get_parameter(bias)[at].clone()
    cell.init_retention_bias(some(HIDDEN))
    assert torch.equal(cell.get_parameter(bias)[at], before)
    cell.init_retention_bias(some(HIDDEN), write)
    assert_close(cell.get_parameter(bias)[at], write[::2] if name == "matrix-lstm" else write)


@pytest.mark.parametrize(
    ("name", "count"),
    [("rnn", 1), ("irnn", 1), ("gru", 3), ("gru-cho", 3), ("coupled-lstm", 3), ("mul-lstm", 5)]
    + [("slstm", 16), ("indrnn", 0), ("clockwork", 0), ("lru", 0), ("rg-lru", 0), ("sru", 0)]
    + [(name, 4) for name in LSTMS if name != "mul-lstm"],
)
def test_the_recurrent_matrices_are_all_there_and_views(name: str, count: int) -> None:
    cell = made(name)
    assert len(list(cell.recurrent_matrices())) == count
    for matrix in cell.recurrent_matrices():
        assert matrix.shape[0] == matrix.shape[1]
        matrix.zero_()
    state = [part.requires_grad_() for part in somewhere(cell)]
    if count:  # then the output before is not heard, but where a gate keeps it
        Wx = cell.project_inputs(some(BATCH, INPUTS))
        (new,) = torch.autograd.grad(cell.step(Wx, tuple(state))[0].sum(), state[0])
        other_ways = {"gru", "gru-cho", "depth-gated-lstm", "mogrifier"}
        assert bool(new.any()) == (name in other_ways)
