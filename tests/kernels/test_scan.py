"""Tests of scans of linear recurrences."""

import pytest
import torch
from torch.testing import assert_close

from charlm.cells.matrix_lstm import MatrixLSTM
from charlm.cells.mingru import MinGRU
from charlm.kernels.compiled import compiler
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel
from charlm.kernels.scan import scan


def test_scan_is_as_stable_as_loop_over_4096_tokens() -> None:
    torch.manual_seed(0)
    exact = MinGRU(8, 16).double()
    narrow = MinGRU(8, 16)
    narrow.load_state_dict(exact.state_dict())
    x = 3 * torch.randn(4096, 2, 8).double()
    expected, _ = unroll_loop(exact, x, exact.initial_state(2))
    for name in ("scan", *(["compiled"] if not compiler.unavailable_reason() else [])):
        outputs, _ = get_kernel(name, narrow, "cpu")(
            narrow, x.float(), narrow.initial_state(2), None
        )
        assert (outputs - expected).square().mean().sqrt() / expected.square().mean().sqrt() < 1e-6


@pytest.mark.parametrize("time", [1, 2, 3, 15, 16, 17, 50])
def test_scan_of_any_length_equals_its_definition(time: int) -> None:
    torch.manual_seed(time)
    a, b, s = torch.rand(time, 2, 3).double(), torch.randn(time, 2, 3).double(), torch.ones(2, 3)
    arguments = [t.double().requires_grad_() for t in (a, b, s)]
    assert torch.autograd.gradcheck(scan, arguments)
    state, states = s.double(), []
    for a_t, b_t in zip(a, b, strict=True):
        state = a_t * state + b_t
        states.append(state)
    assert_close(scan(*arguments), torch.stack(states), rtol=0, atol=1e-12)


def test_chunkwise_matrix_lstm_equals_loop_over_many_chunks() -> None:
    torch.manual_seed(0)
    cell = MatrixLSTM(5, 8).double()
    x = torch.randn(100, 2, 5).double()
    expected, end = unroll_loop(cell, x, cell.initial_state(2))
    outputs, last = get_kernel("scan", cell, "cpu")(cell, x, cell.initial_state(2), None)
    assert_close(outputs, expected, rtol=0, atol=1e-10)
    assert_close(last, end, rtol=0, atol=1e-10)
