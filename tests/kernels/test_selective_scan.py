"""Tests of the compiled selective scan of Mamba."""

import pytest
import torch
from torch import Tensor

from charlm.cells.mamba import Mamba
from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.pointers import KernelInputError
from charlm.kernels.compiled.selective_scan import SEGMENT, UNITS, unroll_mamba
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import Unroll, supported_kernels
from charlm.testing.case import relative_difference

INPUTS, BATCH, VOCABULARY = 4, 3, 7
needs_compiler = pytest.mark.skipif(
    bool(compiler.unavailable_reason()), reason=compiler.unavailable_reason() or "-"
)


def make_cell(units: int, eigenvalues: str = "positive") -> Mamba:
    torch.manual_seed(0)
    cell = Mamba(INPUTS, units, eigenvalues=eigenvalues).double()  # type: ignore[arg-type]
    for parameter in cell.parameters():
        parameter.data += torch.randn_like(parameter) / 2
    return cell


def forward_and_backward(
    cell: Mamba, unroll: Unroll, time: int, *, indexed: bool = False
) -> list[Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(VOCABULARY, (time, BATCH)) if indexed else None
    x = torch.randn(*((VOCABULARY,) if indexed else (time, BATCH)), INPUTS).double()
    h, s = (torch.randn(BATCH, part.shape[1]).double() for part in cell.initial_state(1))
    given = [x.requires_grad_(), s.requires_grad_()]
    outputs, last = unroll(cell, x, (h, s), ids)
    results = [outputs, *last]
    loss = sum((each * torch.randn(each.shape).double()).sum() for each in results)
    return results + list(torch.autograd.grad(loss, [*given, *cell.parameters()]))


@needs_compiler
@pytest.mark.parametrize("units", [1, UNITS, 2 * UNITS + 1])
@pytest.mark.parametrize("eigenvalues", ["positive", "signed"])
@pytest.mark.parametrize("time", [1, SEGMENT, 2 * SEGMENT + 3])
def test_scan_and_its_gradients_equal_the_loop(units: int, eigenvalues: str, time: int) -> None:
    cell = make_cell(units, eigenvalues)
    for indexed in (False, True):
        results = forward_and_backward(cell, unroll_mamba, time, indexed=indexed)
        expected = forward_and_backward(cell, unroll_loop, time, indexed=indexed)
        for result, exact in zip(results, expected, strict=True):
            assert relative_difference(result, exact) < 1e-12


@needs_compiler
def test_window_cut_anywhere_gives_the_same_outputs() -> None:
    cell, x = make_cell(UNITS + 3), torch.randn(2 * SEGMENT + 1, BATCH, INPUTS).double()
    with torch.no_grad():
        whole, last = unroll_mamba(cell, x, cell.initial_state(BATCH))
        for cut in (1, SEGMENT - 1, SEGMENT, SEGMENT + 1):
            first, state = unroll_mamba(cell, x[:cut], cell.initial_state(BATCH))
            second, state = unroll_mamba(cell, x[cut:], state)
            assert relative_difference(torch.cat((first, second)), whole) < 1e-13
            assert relative_difference(state[1], last[1]) < 1e-13


@needs_compiler
def test_compiled_scan_is_the_fastest_kernel_of_mamba() -> None:
    assert supported_kernels(make_cell(4), "cpu")[0] == "compiled"


@needs_compiler
def test_state_of_another_width_and_unknown_ids_are_refused() -> None:
    cell = make_cell(4)
    h, s = cell.initial_state(BATCH)
    with pytest.raises(KernelInputError, match="the state is"):
        unroll_mamba(cell, torch.randn(5, BATCH, INPUTS).double(), (h, s[:, :-1]))
    ids = torch.full((9, BATCH), VOCABULARY)
    with pytest.raises(IndexError, match="not in the table of 7 tokens"):
        unroll_mamba(cell, torch.randn(VOCABULARY, INPUTS).double(), (h, s), ids)
