"""Tests of linear layers over long sequences."""

import contextlib

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from charlm.kernels.compiled import compiler
from charlm.kernels.compiled.linear import CompiledLinearMode

needs_compiler = pytest.mark.skipif(
    bool(compiler.unavailable_reason()), reason=compiler.unavailable_reason() or "-"
)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(300, 70, 45), (257, 3, 1), (256, 32, 129)])
def test_long_linear_layer_equals_pytorchs(
    sizes: tuple[int, int, int], bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    rows, columns, outputs = sizes
    layer = nn.Linear(columns, outputs, bias=bias, dtype=dtype)
    x = torch.randn(rows // 2, 2, columns, dtype=dtype, requires_grad=True)
    x = x if rows % 2 == 0 else torch.randn(rows, columns, dtype=dtype, requires_grad=True)
    weight = torch.randn(*x.shape[:-1], outputs, dtype=dtype)
    results = []
    for mode in (CompiledLinearMode(), contextlib.nullcontext()):
        x.grad = None
        layer.zero_grad()
        with mode:
            out = layer(x)
        (out * weight).sum().backward()
        results.append([out, x.grad, *(p.grad for p in layer.parameters())])
    name = type(results[0][0].grad_fn).__name__
    assert name == "CompiledLinearBackward", name  # else the test compared PyTorch with itself
    assert_close(results[0], results[1], rtol=0, atol=1e-10 if dtype == torch.float64 else 1e-4)
