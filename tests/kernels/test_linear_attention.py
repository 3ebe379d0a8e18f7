"""Tests of the chunkwise kernel of gated linear attention."""

import pytest
import torch
from torch.testing import assert_close

from charlm.cells.gated_linear_attention import GLA, HGRN2, Mamba2, RetNet
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel


@pytest.mark.parametrize("cell_type", [RetNet, Mamba2, GLA, HGRN2])
def test_chunkwise_equals_loop_over_many_chunks_and_strong_decays(
    cell_type: type[RetNet | Mamba2 | GLA | HGRN2],
) -> None:
    """A decay of exp(-40) per token would overflow if it were inverted."""
    torch.manual_seed(0)
    cell = cell_type(5, 8).double()
    x = 40 * torch.randn(50, 2, 5).double()
    expected, end = unroll_loop(cell, x, cell.initial_state(2))
    outputs, last = get_kernel("scan", cell, "cpu")(cell, x, cell.initial_state(2), None)
    assert_close(outputs, expected, rtol=1e-9, atol=1e-9)
    assert_close(last, end, rtol=1e-9, atol=1e-9)
