"""Tests of cells whose matrix memory has a delta rule, or a nonlinear transition."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.testing import assert_close

from charlm.cells.base import Cell
from charlm.cells.delta_cell import DeltaCell
from charlm.cells.deltanet import DeltaNet
from charlm.cells.deltaproduct import DeltaProduct
from charlm.cells.gated_deltanet import GatedDeltaNet
from charlm.cells.m2rnn import M2RNN
from charlm.cells.rwkv7 import RANK, RWKV7
from charlm.kernels.loop import unroll_loop
from charlm.models.activation_capture import RecordingUnroll

TIME, INPUTS, UNITS, HEADS = 12, 5, 12, 4
SIZE = UNITS // HEADS
Array = NDArray[np.float64]


def randomized(cell: Cell) -> Cell:
    """Return a float64 cell, none of whose parameters is at its initial value."""
    torch.manual_seed(1)
    cell = cell.double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.7)
    return cell


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def unit(x: Array) -> Array:
    return x / np.sqrt((x * x).sum())


def rms_norm(x: Array) -> Array:
    return x / np.sqrt((x * x).mean() + 1e-5)


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(x))


def weights(cell: Cell) -> dict[str, Array]:
    return {name: weight.detach().numpy() for name, weight in cell.named_parameters()}


def delta_equations(cell: DeltaCell, inputs: Array) -> Array:
    """Return the outputs of a cell of the delta rule, head by head, with H x H transitions."""
    p, outputs = weights(cell), np.zeros((TIME, UNITS))
    most = 2 if cell.eigenvalues == "signed" else 1
    for n in range(HEADS):
        S, head = np.zeros((SIZE, SIZE)), slice(n * SIZE, (n + 1) * SIZE)
        for t, x in enumerate(inputs):
            Wx, is_gated = p["W"] @ x if "W" in p else p["W.weight"] @ x, "V.weight" in p
            if is_gated:
                Vx = p["V.weight"] @ x
                S = np.exp(-np.exp(p["A"][n]) * softplus(Vx[UNITS + n] + p["d"][n])) * S
            for j in range(cell.num_writes):
                k, v, b = np.split(
                    Wx[UNITS + j * (2 * UNITS + HEADS) :][: 2 * UNITS + HEADS], [UNITS, 2 * UNITS]
                )
                k, v, strength = unit(silu(k[head])), silu(v[head]), most * sigmoid(b[n])
                S = (np.eye(SIZE) - strength * np.outer(k, k)) @ S + strength * np.outer(k, v)
            h = p["norm"] * rms_norm(unit(silu(Wx[:UNITS][head])) @ S)
            outputs[t, head] = silu(Vx[:UNITS][head]) * h if is_gated else h
    return outputs


def rwkv7_equations(cell: RWKV7, inputs: Array) -> Array:
    """Return the outputs of RWKV-7 as its paper has them: values x keys, one transition matrix."""
    p, outputs, last = weights(cell), np.zeros((TIME, UNITS)), np.zeros(INPUTS)
    ends = np.cumsum([*3 * [UNITS], *2 * [RANK]])
    S = np.zeros((HEADS, SIZE, SIZE))
    for t, x in enumerate(inputs):
        shifted = [x + m * (last - x) for m in p["m"]]
        last = x
        r, k, v, w, a, g = (
            W @ y for W, y in zip(np.split(p["W.weight"], ends), shifted, strict=True)
        )
        d = p["V_w.weight"] @ np.tanh(w) + p["V_w.bias"]
        w = np.exp(-np.exp(-0.5) * sigmoid(d))
        a = sigmoid(p["V_a.weight"] @ a + p["V_a.bias"])
        g = p["V_g.weight"] @ sigmoid(g)
        written = k * (1 + (a - 1) * p["d"])
        for n in range(HEADS):
            i = slice(n * SIZE, (n + 1) * SIZE)
            removed = unit(p["c"][i] * k[i])
            S[n] = S[n] @ (np.diag(w[i]) - np.outer(removed, a[i] * removed))
            S[n] += np.outer(v[i], written[i])
            y = S[n] @ r[i]
            y = (y - y.mean()) / np.sqrt(y.var() + 64e-5)
            y = y * p["norm.weight"][i] + p["norm.bias"][i]
            outputs[t, i] = g[i] * (y + (r[i] * written[i] * p["e"][i]).sum() * v[i])
    return outputs


def m2rnn_equations(cell: M2RNN, inputs: Array) -> Array:
    """Return the outputs of M2RNN, entry by entry of the memory."""
    p, outputs = weights(cell), np.zeros((TIME, UNITS))
    M = np.zeros((HEADS, SIZE, SIZE))
    for t, x in enumerate(inputs):
        q, k, v, g, f = np.split(p["W.weight"] @ x, np.cumsum([SIZE, SIZE, UNITS, UNITS]))
        f = np.exp(-np.exp(p["A"]) * softplus(f + p["d"]))
        y = np.zeros(UNITS)
        for n in range(HEADS):
            new = M[n].copy()
            for i in range(SIZE):
                for j in range(SIZE):
                    total = M[n, i] @ p["R"][n, :, j] + k[i] * v[n * SIZE + j]
                    new[i, j] = f[n] * M[n, i, j] + (1 - f[n]) * np.tanh(total)
            M[n] = new
            y[n * SIZE : (n + 1) * SIZE] = q @ new
        outputs[t] = p["norm"] * rms_norm(silu(g) * (y + p["D"] * v))
    return outputs


EQUATIONS: list[tuple[Cell, Callable[..., Array]]] = [
    (DeltaNet(INPUTS, UNITS), delta_equations),
    (DeltaNet(INPUTS, UNITS, eigenvalues="signed"), delta_equations),
    (GatedDeltaNet(INPUTS, UNITS), delta_equations),
    (GatedDeltaNet(INPUTS, UNITS, eigenvalues="signed"), delta_equations),
    (DeltaProduct(INPUTS, UNITS, eigenvalues="signed"), delta_equations),
    (RWKV7(INPUTS, UNITS), rwkv7_equations),
    (M2RNN(INPUTS, UNITS), m2rnn_equations),
]


@pytest.mark.parametrize(("cell", "equations"), EQUATIONS)
def test_cell_computes_equations_of_its_paper(cell: Cell, equations: Callable[..., Array]) -> None:
    cell = randomized(cell)
    x = torch.randn(TIME, 1, INPUTS).double()
    outputs, _ = unroll_loop(cell, x, cell.initial_state(1))
    expected = torch.from_numpy(equations(cell, x[:, 0].numpy()))
    assert_close(outputs[:, 0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [DeltaNet, GatedDeltaNet, DeltaProduct, RWKV7, M2RNN])
@pytest.mark.parametrize("num_heads", [1, 2, 6])
def test_number_of_heads_shapes_memory(make: type[Cell], num_heads: int) -> None:
    cell = randomized(make(INPUTS, UNITS, num_heads=num_heads))  # type: ignore[call-arg]
    x = torch.randn(TIME, 2, INPUTS).double()
    _, (h, S, *_) = unroll_loop(cell, x, cell.initial_state(2))
    assert h.shape == (2, UNITS)
    assert S.shape == (2, num_heads, UNITS // num_heads, UNITS // num_heads)


def parity_of_bits(cell: DeltaNet, bits: Tensor) -> Tensor:
    """Return the output after each bit: a memory that starts at 1, one key, and values of 0."""
    size = cell.hidden_size
    with torch.no_grad():
        cell.W.weight.zero_()
        cell.W.weight[0, 0] = cell.W.weight[size, 0] = 10  # q and k
        cell.W.weight[-1] = torch.tensor([-1000, 2000])  # b: 0 or its maximum
    S = torch.zeros(1, 1, size, size).double()
    S[..., 0, 0] = 1
    x = torch.stack((torch.ones_like(bits), bits), -1).double()[:, None]
    outputs, _ = unroll_loop(cell, x, (torch.zeros(1, size).double(), S))
    return outputs[:, 0, 0]


def test_only_signed_eigenvalues_track_parity() -> None:
    torch.manual_seed(0)
    bits = torch.randint(2, (500,))
    sign = 1 - 2 * (bits.cumsum(0) % 2)
    signed = parity_of_bits(DeltaNet(2, 4, num_heads=1, eigenvalues="signed").double(), bits)
    assert torch.equal(signed.sign(), sign.double())
    assert_close(signed.abs(), signed.abs()[:1].expand(500), rtol=0, atol=0)
    positive = parity_of_bits(DeltaNet(2, 4, num_heads=1).double(), bits)
    first = int(bits.argmax())
    assert (positive[:first] > 0).all() and (positive[first:] == 0).all()


def test_two_writes_rotate_memory() -> None:
    """Reflections along keys 60 degrees apart turn by 120 degrees: after 3 tokens it is back."""
    cell = DeltaProduct(1, 4, num_heads=1, eigenvalues="signed").double()
    with torch.no_grad():
        _, k, _, b, other_k, _, other_b = cell.W.weight.zero_().split(cell.sizes)
        k[0] = 1000
        other_k[0], other_k[1] = 500, 1000 * 0.75**0.5
        b[:] = other_b[:] = 1000  # twice the sigmoid is 2
    initial = torch.zeros(1, 1, 4, 4).double()
    initial[0, 0, :2, :2] = torch.randn(2, 2)
    memories = [initial]
    for _ in range(3):
        (Wx,) = cell.project_inputs(torch.ones(1, 1, 1).double())
        _, S = cell.step(Wx, (torch.zeros(1, 4).double(), memories[-1]))
        memories.append(S)
    turned = memories[1][0, 0, :2] + memories[2][0, 0, :2] + initial[0, 0, :2]
    assert_close(turned, torch.zeros(2, 4).double(), rtol=0, atol=1e-12)
    assert_close(memories[3], initial, rtol=0, atol=1e-12)


def observed_retention(cell: Cell) -> Tensor:
    recording = RecordingUnroll()
    with torch.no_grad():
        recording(cell, torch.randn(TIME, 3, INPUTS).double(), cell.initial_state(3))
    retention = recording.seen[0].retention
    assert retention is not None
    return retention


def test_retention_is_mean_eigenvalue_of_transition() -> None:
    """It is the trace of a (I - b k k^T), of each head, over its size."""
    cell = randomized(GatedDeltaNet(INPUTS, UNITS, eigenvalues="signed"))
    assert isinstance(cell, GatedDeltaNet)
    torch.manual_seed(2)
    retention = observed_retention(cell)
    torch.manual_seed(2)
    Wx = cell.project_inputs(torch.randn(TIME, 3, INPUTS).double())
    ((k, _, b),), a = cell.writes(Wx), cell.log_decay(Wx).exp()
    transition = torch.eye(SIZE).double() - b[..., None, None] * k[..., None] * k[..., None, :]
    trace = (a[..., None, None] * transition).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert_close(retention, (trace / SIZE).repeat_interleave(SIZE, -1))


@pytest.mark.parametrize("make", [GatedDeltaNet, M2RNN])
def test_heads_start_with_long_time_constants(make: type[Cell]) -> None:
    torch.manual_seed(0)
    cells = [make(INPUTS, UNITS) for _ in range(100)]
    rate = torch.cat([cell.A.exp() * nn.functional.softplus(cell.d) for cell in cells]).detach()
    assert rate.min() < 0.01 and 0.3 < rate.max() < 1.6
    step_size = torch.cat([nn.functional.softplus(cell.d) for cell in cells]).detach()
    assert step_size.min() > 0.00099 and step_size.max() < 0.101
    assert abs(float(step_size.log().mean()) - float(np.log(0.01))) < 0.2


def naive_module(path: str) -> ModuleType:
    """Load a reference of flash-linear-attention, a file without Triton."""
    spec = importlib.util.find_spec("fla")
    assert spec is not None and spec.origin is not None
    file = Path(spec.origin).parent / "ops" / path / "naive.py"
    naive = importlib.util.spec_from_file_location("naive", file)
    assert naive is not None and naive.loader is not None
    module = importlib.util.module_from_spec(naive)
    naive.loader.exec_module(module)
    return module


@pytest.mark.parametrize("make", [DeltaNet, GatedDeltaNet, DeltaProduct])
def test_delta_rule_equals_flash_linear_attention(make: type[DeltaCell]) -> None:
    """Its references compute in float32 and scale q by the root of the head size."""
    cell = randomized(make(INPUTS, UNITS, eigenvalues="signed"))
    assert isinstance(cell, DeltaCell)
    Wx = cell.project_inputs(torch.randn(TIME, 3, INPUTS).double())
    q, log_a, writes = cell.query(Wx), cell.log_decay(Wx), cell.writes(Wx)
    k, v, b = (
        torch.stack(part, 1).flatten(0, 1).transpose(0, 1) for part in zip(*writes, strict=True)
    )
    q = q.transpose(0, 1)
    if make is DeltaNet:
        rule = naive_module("delta_rule").delta_rule_recurrence
        o, S = rule(*(part.transpose(1, 2) for part in (SIZE**0.5 * q, k, v, b)))
        o = o.transpose(1, 2)
    elif log_a is not None:
        rule = naive_module("gated_delta_rule").naive_recurrent_gated_delta_rule
        g = log_a.transpose(0, 1)
        o, S = rule(q, k, v, b, g, scale=1.0, output_final_state=True)
    else:
        rule = naive_module("gated_delta_product").naive_recurrent_gated_delta_product
        o, S = rule(q, k, v, None, b, 1.0, num_householder=cell.num_writes)
    state = cell.initial_state(3)
    outputs = []
    for W in Wx:
        state = cell.step(W, state)
        outputs.append(state[0])
    assert_close(state[1], S.double(), rtol=0, atol=2e-6)
    read = cell.read_out(Wx, o.double().transpose(0, 1))
    assert_close(torch.stack(outputs), read, rtol=1e-4, atol=1e-4)


def test_rwkv7_memory_equals_flash_linear_attention() -> None:
    """Its reference is a diagonal plus low-rank transition, in float32."""
    cell = randomized(RWKV7(INPUTS, UNITS))
    x = torch.randn(TIME, 3, INPUTS).double()
    _, (_, S, _) = unroll_loop(cell, x, cell.initial_state(3))
    p = dict(cell.named_parameters())
    last = torch.cat((torch.zeros(1, 3, INPUTS).double(), x[:-1]))
    shifted = x + p["m"][:, None, None] * (last - x)
    ends = [*3 * [UNITS], *3 * [RANK]]
    r, k, v, w, a, _ = (y @ W.mT for W, y in zip(p["W.weight"].split(ends), shifted, strict=True))
    log_w = -torch.sigmoid(cell.V_w(w.tanh())) * np.exp(-0.5)
    a = torch.sigmoid(cell.V_a(a))
    heads = [
        part.unflatten(-1, (HEADS, SIZE)).permute(1, 2, 0, 3)
        for part in (r, k * (1 + (a - 1) * p["d"]), v, p["c"] * k, a, log_w)
    ]
    r, written, v, removed, a, log_w = heads
    removed = removed / removed.norm(dim=-1, keepdim=True)
    rule = naive_module("generalized_delta_rule/dplr").dplr_recurrence
    _, expected = rule(r, written, v, -removed.float(), a * removed, log_w)
    assert_close(S, expected.double(), rtol=1e-5, atol=1e-5)
