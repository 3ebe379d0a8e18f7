"""The engine: what it can read of a step, what it builds, and what it says when it cannot."""

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, State
from charlm.cells.gru import GRU
from charlm.cells.indrnn import IndRNN
from charlm.cells.layernorm_lstm import LayerNormLSTM
from charlm.cells.lstm import LSTM
from charlm.cells.matrix_lstm import MatrixLSTM
from charlm.cells.mingru import MinGRU
from charlm.cells.rnn import RNN
from charlm.cells.slstm import SLSTM
from charlm.config import validate_config
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError
from charlm.evaluation.generation import IncrementalDecoder
from charlm.evaluation.scoring import iter_token_nll, token_nll
from charlm.kernels.compiled import compiler as build
from charlm.kernels.compiled import runtime
from charlm.kernels.compiled.autodiff import differentiate
from charlm.kernels.compiled.codegen import generate_c
from charlm.kernels.compiled.graph import Graph
from charlm.kernels.compiled.linear import CompiledLinearMode
from charlm.kernels.compiled.trace import TracedStep, trace_step
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel, supported_kernels, unsupported_reason
from charlm.kernels.scan import scan
from charlm.models.char_lm import CharLM

pass

needs_compiler = pytest.mark.skipif(
    bool(build.unavailable_reason()), reason=build.unavailable_reason() or "-"
)


class Own(Cell):
    """h' = tanh(W x + U h), and one thing more that a test adds."""

    more: Callable[[Tensor, Tensor], Tensor] = staticmethod(lambda h, _: h)

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)
        self.U = nn.Linear(hidden, hidden, bias=False)

    def step(self, Wx: Tensor, state: State) -> State:
        return (self.more(tanh(Wx + self.U(state[0])), Wx),)


def own(more: Callable[[Tensor, Tensor], Tensor]) -> Cell:
    return type("Own", (Own,), {"more": staticmethod(more)})(3, 4).double()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (lambda h, _: torch.erf(h), "uses erf"),
        (lambda h, _: h if h.sum() > 0 else -h, "uses sum|looking at numbers"),
        (lambda h, _: h if h > 0 else -h, "decides by looking at numbers"),
        (lambda h, _: h[..., ::2].repeat(1, 2), "every other number"),
        (lambda h, _: h[0:1] + h, "other than along its last dimension"),
        (lambda h, _: h @ torch.eye(4), "uses __rmatmul__"),
        (lambda h, _: h[..., :3], "other widths"),
        (lambda h, Wx: h + Wx[..., :2], "different widths"),
        (lambda h, _: h + torch.ones(4), "mixes a Tensor"),
    ],
)
def test_a_step_that_cannot_be_traced_is_refused_with_what_it_does(
    more: Callable[[Tensor, Tensor], Tensor], reason: str
) -> None:
    cell = own(more)
    for name in ("compiled",):
        with pytest.raises(ConfigError, match=f"--kernel {name}: .*({reason})"):
            get_kernel(name, cell, "cpu")
    assert supported_kernels(cell, "cpu") == ["loop"]


@needs_compiler
@pytest.mark.parametrize(
    "more",
    [
        lambda h, Wx: torch.maximum(h, 0.5 * Wx) - torch.minimum(h, Wx),
        lambda h, Wx: torch.where(h > Wx, h * h, torch.abs(Wx)),
        lambda h, Wx: torch.nn.functional.softplus(h) / (1.5 + sigmoid(Wx)) - 2 / (3 + h),
        lambda h, Wx: (
            torch.log(2 + h) * torch.sqrt(1.1 - h.square()) + torch.cos(Wx) * torch.sin(h)
        ),
        lambda h, Wx: torch.cat((h[..., 1:], h[..., :1]), dim=-1) * sigmoid(Wx),
        lambda h, Wx: torch.nn.functional.layer_norm(h, (4,)) * torch.relu(Wx),
        lambda h, Wx: torch.cat([p.sigmoid() for p in h.split([1, 3], dim=-1)], -1) + -Wx,
        lambda h, Wx: torch.remainder(h, 0.7) + (1 - Wx),
    ],
)
def test_what_a_step_may_use_is_differentiated_rightly(
    more: Callable[[Tensor, Tensor], Tensor],
) -> None:
    torch.manual_seed(0)
    cell = own(more)
    x, start = torch.randn(5, 2, 3).double(), torch.randn(2, 4).double()
    weight = torch.randn(5, 2, 4).double()
    found = {}
    for name in ("loop", "compiled"):
        given = [t.clone().requires_grad_() for t in (x, start)]
        cell.zero_grad()
        outputs, (last,) = get_kernel(name, cell, "cpu")(cell, given[0], (given[1],), None)
        ((outputs * weight).sum() + (last**2).sum()).backward()
        gradients = [t.grad for t in (*given, *cell.parameters())]
        found[name] = [outputs, last, *gradients]
    for name in ("compiled",):
        assert_close(found[name], found["loop"], rtol=0, atol=1e-9)


def test_a_number_that_a_whole_row_shares_gets_the_gradient_of_the_whole_row() -> None:
    """A sum over the row has one gradient for all of it; no step of the zoo has such a sum."""
    graph = Graph()
    row, number = graph.leaf("s0", 0, 4), graph.leaf("s1", 0, 1)
    step = TracedStep(graph, ((row,), (graph.row_sum((row + number,)),)), (4, 1), 4)
    gradient = differentiate(step).leaves[number]
    assert gradient is graph.leaf("a1", 0, 1) * 4.0


def test_equal_things_are_computed_once_and_the_gradient_of_x_is_that_of_the_product() -> None:
    source = generate_c(trace_step(LSTM(3, 4)), lambda _: True)
    assert source.input_gradient_is_deltas  # nothing is written twice on the way back
    assert source.stash == 5 * 4  # i, f, g, o and tanh c: c itself is in the state
    assert not generate_c(trace_step(GRU(3, 4)), lambda _: True).input_gradient_is_deltas


@needs_compiler
@pytest.mark.parametrize("kind", [LSTM, GRU, RNN, SLSTM, LayerNormLSTM, IndRNN])
def test_what_is_no_number_stays_none_and_large_gates_do_not_overflow(kind: type[Cell]) -> None:
    torch.manual_seed(0)
    cell = kind(3, 8)
    x = torch.randn(4, 2, 3)
    wide = 300.0 if kind is LSTM else 30.0  # far beyond where an exponential overflows
    with torch.no_grad():
        got, _ = get_kernel("compiled", cell, "cpu")(cell, x * wide, cell.initial_state(2), None)
        wanted, _ = unroll_loop(cell, x * wide, cell.initial_state(2))
        assert_close(got, wanted, rtol=1e-5, atol=1e-5)
        x[1, 0, 0] = math.nan
        got, last = get_kernel("compiled", cell, "cpu")(cell, x, cell.initial_state(2), None)
    assert got[1:, 0].isnan().any(-1).all() and last[0][0].isnan().any()
    assert not got[:1].isnan().any() and not got[:, 1].isnan().any()


@pytest.fixture
def afresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which nothing was built yet."""
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    made = (
        build.compiler,
        build._identity,
        build.load_library,
        build.unavailable_reason,
        runtime.load_functions,
    )
    for function in made:
        function.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    for function in made:
        function.cache_clear()


def test_without_a_compiler_the_reason_is_said_and_another_kernel_is_taken(
    afresh: pytest.MonkeyPatch,
) -> None:
    afresh.setenv("CC", "no-such-compiler")
    cell = LSTM(3, 4)
    with pytest.raises(ConfigError, match="--kernel compiled: no C compiler is there.*has fused"):
        get_kernel("compiled", cell, "cpu")
    assert supported_kernels(cell, "cpu")[0] == "fused"


def test_a_compiler_that_fails_is_one_line(afresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'kernel.c:1: error: the moon is full' >&2\nexit 1\n")
    broken.chmod(0o755)
    afresh.setenv("CC", str(broken))
    with pytest.raises(ConfigError, match="cannot build the kernel .*the moon is full") as raised:
        get_kernel("compiled", LSTM(3, 4), "cpu")
    assert "\n" not in str(raised.value)


def test_what_is_no_library_or_comes_too_late_is_one_line_and_not_kept(
    afresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = tmp_path / "odd-cc"
    afresh.setenv("CC", str(odd))
    afresh.setattr(build, "PATIENCE", 1)
    for does, reason in (
        ('while [ "$1" != -o ]; do shift; done; echo junk > "$2"', "is no library"),
        ("exec sleep 5", "silent for 1 s"),
        (None, "Exec format error"),
    ):
        odd.write_text(f'#!/bin/sh\n[ "$1" = --version ] || {{ {does}; }}\n' if does else "\0")
        odd.chmod(0o755)
        build._identity.cache_clear()
        with pytest.raises(ConfigError, match=f"cannot build the kernel .*{reason}"):
            build.load_library("int seven(void) { return 7; }\n")
    assert not list((tmp_path / "cache").rglob("*.so"))


@needs_compiler
def test_kernels_are_not_taken_from_where_others_may_write(
    afresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "cache" / "kernels"
    build.load_library("int seven(void) { return 7; }\n")
    assert place.stat().st_mode & 0o777 == 0o700
    place.chmod(0o777)
    assert "others may write into" in unsupported_reason("compiled", LSTM(3, 4), "cpu")


@needs_compiler
def test_a_kernel_is_built_once_and_again_when_its_file_is_damaged(tmp_path: Path) -> None:
    count, cache = tmp_path / "count", tmp_path / "cache"
    compiler = tmp_path / "counting-cc"
    compiler.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo x >> {count}\nexec cc "$@"\n')
    compiler.chmod(0o755)
    code = """from charlm.engine.build import library
assert library("int seven(void) { return 7; }").seven() == 7"""

    def build_in_a_process_of_its_own() -> int:
        env = {**os.environ, "CC": str(compiler), "CHARLM_CACHE": str(cache)}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        return count.read_text().count("x")

    assert build_in_a_process_of_its_own() == 1
    assert build_in_a_process_of_its_own() == 1
    (kept,) = (cache / "kernels").glob("*.so")
    kept.write_bytes(kept.read_bytes()[:-100])
    assert build_in_a_process_of_its_own() == 2


def test_a_subclass_that_changes_the_step_is_not_served_by_its_parents_kernel() -> None:
    class Louder(LSTM):
        def step(self, Wx: Tensor, state: State) -> State:
            h, c = super().step(Wx, state)
            return 2 * h, c

    cell = Louder(3, 4)
    assert "fused" not in supported_kernels(cell, "cpu")
    assert "no fused kernel" in unsupported_reason("fused", cell, "cpu")


def test_a_scan_is_as_stable_as_the_loop_over_4096_characters() -> None:
    torch.manual_seed(0)
    exact = MinGRU(8, 16).double()
    narrow = MinGRU(8, 16)
    narrow.load_state_dict(exact.state_dict())
    x = 3 * torch.randn(4096, 2, 8).double()
    wanted, _ = unroll_loop(exact, x, exact.initial_state(2))
    for name in ("scan", *(["compiled"] if not build.unavailable_reason() else [])):
        got, _ = get_kernel(name, narrow, "cpu")(narrow, x.float(), narrow.initial_state(2), None)
        assert (got - wanted).square().mean().sqrt() / wanted.square().mean().sqrt() < 1e-6


@pytest.mark.parametrize("time", [1, 2, 3, 15, 16, 17, 50])
def test_a_scan_of_any_length_is_its_definition(time: int) -> None:
    torch.manual_seed(time)
    a, b, s = torch.rand(time, 2, 3).double(), torch.randn(time, 2, 3).double(), torch.ones(2, 3)
    given = [t.double().requires_grad_() for t in (a, b, s)]
    assert torch.autograd.gradcheck(scan, given)
    at, states = s.double(), []
    for now, add in zip(a, b, strict=True):
        at = now * at + add
        states.append(at)
    assert_close(scan(*given), torch.stack(states), rtol=0, atol=1e-12)


def test_the_matrix_lstm_is_the_same_over_many_chunks() -> None:
    torch.manual_seed(0)
    cell = MatrixLSTM(5, 8).double()
    x = torch.randn(100, 2, 5).double()
    wanted, end = unroll_loop(cell, x, cell.initial_state(2))
    got, last = get_kernel("scan", cell, "cpu")(cell, x, cell.initial_state(2), None)
    assert_close(got, wanted, rtol=0, atol=1e-10)
    assert_close(last, end, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("cell", "block"),
    [
        *((cell, "none") for cell in ("lstm", "clockwork", "matrix-lstm", "depth-gated-lstm")),
        ("lstm", "residual"),
    ],
)
def test_who_writes_expects_what_is_scored(cell: str, block: str) -> None:
    """Character by character and all at once: the same distribution, in float32."""
    config = validate_config(
        {"cell": cell, "num_layers": 2, "hidden_size": 16, "embedding_dim": 8, "block": block}
    )
    alphabet = Vocabulary("chars", tuple(range(97, 97 + 8)))
    ids = np.random.default_rng(0).integers(0, 8, (40, 1), dtype=np.uint8)
    torch.manual_seed(0)
    for kernel in ("loop", supported_kernels(CELLS[cell](8, 16), "cpu")[0]):
        model = CharLM(config, 9, kernel)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
        scored = torch.cat(list(iter_token_nll(model, ids, alphabet)))[:, 0]
        with torch.inference_mode():
            reader = IncrementalDecoder(model)
            expected = []
            for symbol in ids[:, 0]:
                expected.append(token_nll(reader.next_logits, torch.tensor(int(symbol))))
                reader.advance(int(symbol))
        assert_close(torch.stack(expected), scored, rtol=0, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(300, 70, 45), (257, 3, 1), (256, 32, 129)])
def test_the_product_of_a_long_text_is_pytorchs(
    sizes: tuple[int, int, int], bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    rows, columns, outputs = sizes
    layer = nn.Linear(columns, outputs, bias=bias, dtype=dtype)
    x = torch.randn(rows // 2, 2, columns, dtype=dtype, requires_grad=True)
    x = x if rows % 2 == 0 else torch.randn(rows, columns, dtype=dtype, requires_grad=True)
    weight = torch.randn(*x.shape[:-1], outputs, dtype=dtype)
    found = []
    for mode in (CompiledLinearMode(), contextlib.nullcontext()):
        x.grad = None
        layer.zero_grad()
        with mode:
            out = layer(x)
        (out * weight).sum().backward()
        found.append([out, x.grad, *(p.grad for p in layer.parameters())])
    name = type(found[0][0].grad_fn).__name__
    assert name == "LinearBackward", name  # else the test compared PyTorch with itself
    assert_close(found[0], found[1], rtol=0, atol=1e-10 if dtype == torch.float64 else 1e-4)


@needs_compiler
@pytest.mark.parametrize("kernel", ["compiled"])
def test_the_way_back_may_be_walked_again_but_not_with_other_weights(kernel: str) -> None:
    torch.manual_seed(0)
    cell = LSTM(3, 4).double()
    x = torch.randn(5, 2, 3).double()
    outputs, _ = get_kernel(kernel, cell, "cpu")(cell, x, cell.initial_state(2), None)
    once = torch.autograd.grad(outputs[2].sum(), cell.U.weight, retain_graph=True)
    assert_close(torch.autograd.grad(outputs[2].sum(), cell.U.weight, retain_graph=True), once)
    with torch.no_grad():
        cell.U.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@needs_compiler
def test_an_id_beyond_the_table_is_an_error_and_other_integers_are_read_rightly() -> None:
    cell = RNN(3, 4)
    table, ids = torch.randn(5, 3), torch.randint(5, (6, 2))
    walked = get_kernel("compiled", cell, "cpu")
    wanted, _ = unroll_loop(cell, table, cell.initial_state(2), ids)
    assert_close(walked(cell, table, cell.initial_state(2), ids.to(torch.int32))[0], wanted)
    ids[3, 1] = 5
    with pytest.raises(IndexError, match="table of 5 symbols"):
        walked(cell, table, cell.initial_state(2), ids)
