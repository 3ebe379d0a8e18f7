"""Tests of the chunkwise delta rule."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from charlm.cells.delta_cell import DeltaCell
from charlm.cells.deltanet import DeltaNet
from charlm.cells.deltaproduct import DeltaProduct
from charlm.cells.gated_deltanet import GatedDeltaNet
from charlm.kernels.delta_rule import pairwise_log_decay
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel
from charlm.testing.kernel_checks import assert_same, forward_and_gradients, relative_rms_error

CELLS = [DeltaNet, GatedDeltaNet, DeltaProduct]


def signed(cell_type: type[DeltaCell]) -> DeltaCell:
    torch.manual_seed(0)
    cell = cell_type(5, 8, num_heads=2, eigenvalues="signed").double()
    nn.init.normal_(cell.W.weight)
    return cell


@pytest.mark.parametrize("cell_type", CELLS)
def test_chunks_equal_loop_in_float64_with_gradients(cell_type: type[DeltaCell]) -> None:
    cell = signed(cell_type)
    x = torch.randn(75, 3, 5).double()  # not a whole number of chunks
    _, state = unroll_loop(cell, torch.randn(4, 3, 5).double(), cell.initial_state(3))
    state = tuple(part.detach() for part in state)
    kernel = get_kernel("scan", cell, "cpu")
    expected = forward_and_gradients(cell, unroll_loop, x, state)
    assert_same("scan", forward_and_gradients(cell, kernel, x, state), expected)


@pytest.mark.parametrize("cell_type", CELLS)
def test_chunks_are_exact_in_float32_over_500_tokens(cell_type: type[DeltaCell]) -> None:
    exact = signed(cell_type)
    narrow = cell_type(5, 8, num_heads=2, eigenvalues="signed")
    narrow.load_state_dict(exact.state_dict())
    x = torch.randn(500, 2, 5).double()
    with torch.no_grad():
        expected = unroll_loop(exact, x, exact.initial_state(2))
        loop = unroll_loop(narrow, x.float(), narrow.initial_state(2))
        kernel = get_kernel("scan", narrow, "cpu")
        results = kernel(narrow, x.float(), narrow.initial_state(2), None)
    error = relative_rms_error(results, expected)
    assert error < max(1e-5, 3 * relative_rms_error(loop, expected))


@pytest.mark.parametrize("shift", [-1000.0, 100.0])
def test_decays_of_any_size_leave_gradients_finite(shift: float) -> None:
    """A decay is 1, or so strong that the memory is emptied in every step."""
    cell = signed(GatedDeltaNet).float()
    assert isinstance(cell, GatedDeltaNet)
    nn.init.constant_(cell.d, shift)
    cell.requires_grad_()
    x = torch.randn(40, 2, 5)
    results = []
    for unroll in (unroll_loop, get_kernel("scan", cell, "cpu")):
        outputs, _ = unroll(cell, x, cell.initial_state(2), None)
        cell.zero_grad()
        outputs.sum().backward()
        gradients = [weight.grad for weight in cell.parameters()]
        assert all(grad is not None and grad.isfinite().all() for grad in gradients)
        results.append(outputs.detach())
    assert_close(*results, rtol=1e-3, atol=1e-4)


def test_small_decay_after_large_one_keeps_its_digits() -> None:
    log_a = torch.tensor([-1e6, -1e-3, -2e-3])
    expected = torch.tensor(
        [[0, -torch.inf, -torch.inf], [-1e-3, 0, -torch.inf], [-3e-3, -2e-3, 0]]
    )
    assert_close(pairwise_log_decay(log_a), expected, rtol=1e-6, atol=0)
