"""Tests of linear attention cells against the sum over all past tokens."""

import math

import pytest
import torch
from torch import Tensor, einsum, exp, nn, sigmoid, tanh
from torch.nn.functional import logsigmoid, rms_norm, silu, softplus
from torch.testing import assert_close

from charlm.cells.base import Cell
from charlm.cells.gated_linear_attention import GLA, HGRN2, Mamba2, RetNet
from charlm.cells.mamba import Mamba
from charlm.cells.mamba3 import Mamba3
from charlm.kernels.loop import unroll_loop

TIME, BATCH, INPUTS, HIDDEN = 12, 2, 5, 8


def randomized(cell: Cell) -> Cell:
    """Return the cell in float64, none of whose parameters is at its initial value."""
    torch.manual_seed(1)
    for parameter in cell.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def outputs_and_inputs(cell: Cell) -> tuple[Tensor, Tensor]:
    x = torch.randn(TIME, BATCH, INPUTS, dtype=torch.float64)
    outputs, _ = unroll_loop(cell, x, cell.initial_state(BATCH))
    return outputs, x


def cumulative_products(a: Tensor) -> Tensor:
    """Return the product of a[s + 1] to a[t] at [t, s], and 0 where s > t."""
    products = torch.zeros(len(a), *a.shape, dtype=a.dtype)
    for t in range(len(a)):
        for s in range(t + 1):
            products[t, s] = a[s + 1 : t + 1].prod(0)
    return products


@pytest.mark.parametrize("eigenvalues", ["positive", "signed"])
def test_mamba_is_decayed_sum_of_inputs(eigenvalues: str) -> None:
    cell = Mamba(INPUTS, HIDDEN, eigenvalues=eigenvalues)  # type: ignore[arg-type]
    randomized(cell)
    outputs, x = outputs_and_inputs(cell)
    u, z = silu(x @ cell.W.weight[:HIDDEN].T), x @ cell.W.weight[HIDDEN:].T
    r, B, C = (u @ cell.V.weight.T).split((8, 16, 16), dim=-1)
    d = softplus(r @ cell.W_d.weight.T + cell.W_d.bias)
    a = exp(-einsum("tbh,hn->tbhn", d, cell.A_log.view(HIDDEN, 16).exp()))
    a = 2 * a - 1 if eigenvalues == "signed" else a
    y = einsum("tbn,tsbhn,sbh,sbn->tbh", C, cumulative_products(a), d * u, B)
    assert_close(outputs, (y + cell.D * u) * silu(z), rtol=0, atol=1e-12)


def test_mamba3_is_attention_with_trapezoid_weights() -> None:
    """Token s has its own weight and, from s + 1 on, that of the last input."""
    cell = Mamba3(INPUTS, HIDDEN)
    randomized(cell)
    outputs, x = outputs_and_inputs(cell)
    heads, size = 4, HIDDEN // 4
    v, z, B, C, d, A, m, w = (x @ cell.W.weight.T).split((8, 8, 16, 16, 4, 4, 4, 4), dim=-1)
    d, m, v = softplus(d + cell.b_d), sigmoid(m), v.view(TIME, BATCH, heads, size)
    products = cumulative_products(exp(-d * softplus(A).clamp(min=1e-4)))
    angle = (math.pi * d[..., None] * tanh(w)[..., None, :]).cumsum(0)
    rotation = torch.polar(torch.ones_like(angle), angle)

    def rotated(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = (x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight)[..., None, :] + bias
        pairs = torch.complex(x[..., :4], x[..., 4:8]) * rotation
        return torch.cat((pairs.real, pairs.imag, x[..., 8:]), dim=-1)

    k, q = rotated(B, cell.norm_B, cell.b_k), rotated(C, cell.norm_C, cell.b_q)
    weights = products * (m * d)
    following = torch.zeros_like(weights)  # the same token as the last input of the next one
    for s in range(TIME - 1):
        following[s + 1 :, s] = products[s + 1 :, s] * (1 - m[s + 1]) * d[s + 1]
    y = einsum("tbhk,sbhk,tsbh,sbhv->tbhv", q, k, weights + following, v)
    y = y + cell.D[:, None] * v
    assert_close(outputs, y.flatten(-2) * silu(z), rtol=0, atol=1e-12)


def attention(q: Tensor, k: Tensor, v: Tensor, a: Tensor) -> Tensor:
    """Return the sum over past tokens, each decayed per key; all (time, batch, heads, size)."""
    return einsum("tbhk,tsbhk,sbhk,sbhv->tbhv", q, cumulative_products(a.expand_as(k)), k, v)


def test_retnet_is_attention_with_fixed_decay() -> None:
    cell = randomized(RetNet(INPUTS, HIDDEN))
    outputs, x = outputs_and_inputs(cell)
    q, k, v, g = (x @ cell.W.weight.T).chunk(4, dim=-1)
    q, k, v = (part.unflatten(-1, (4, 2)) for part in (q, k, v))
    a = 1 - 2.0 ** torch.tensor([-5, -6, -7, -8], dtype=torch.float64)[:, None]
    o = rms_norm(attention(q, k / 2**0.5, v, a), (2,), eps=1e-5)
    assert_close(outputs, o.flatten(-2) * silu(g), rtol=0, atol=1e-12)


def test_mamba2_is_attention_with_decay_per_head() -> None:
    cell = randomized(Mamba2(INPUTS, HIDDEN))
    outputs, x = outputs_and_inputs(cell)
    v, B, C, z, d = (x @ cell.W.weight.T).split((8, 16, 16, 8, 4), dim=-1)
    d, v = softplus(d + cell.b_d)[..., None], silu(v).unflatten(-1, (4, 2))
    a = exp(-d * cell.A_log.exp()[:, None])
    B, C = (silu(part)[..., None, :].expand(-1, -1, 4, -1) for part in (B, C))
    y = attention(C, d * B, v, a) + cell.D[:, None] * v
    expected = rms_norm(y.flatten(-2) * silu(z), (8,), cell.norm, 1e-5)
    assert_close(outputs, expected, rtol=0, atol=1e-12)


def test_gla_is_attention_with_decay_per_key() -> None:
    cell = randomized(GLA(INPUTS, HIDDEN))
    outputs, x = outputs_and_inputs(cell)
    q, k, v, g = (x @ cell.W.weight.T).chunk(4, dim=-1)
    a = exp(logsigmoid(x @ cell.V.weight.T @ cell.W_a.weight.T + cell.W_a.bias) / 16)
    q, k, v, a = (part.unflatten(-1, (4, 2)) for part in (q, k, v, a))
    o = rms_norm(attention(q, k / 2**0.5, v, a), (2,), cell.norm, 1e-5)
    assert_close(outputs, o.flatten(-2) * silu(g), rtol=0, atol=1e-12)


def test_hgrn2_is_attention_whose_key_is_one_minus_decay() -> None:
    cell = randomized(HGRN2(INPUTS, HIDDEN))
    outputs, x = outputs_and_inputs(cell)
    q, f, v = (part.unflatten(-1, (4, 2)) for part in (x @ cell.W.weight.T).chunk(3, dim=-1))
    o = attention(silu(q), 1 - sigmoid(f), v, sigmoid(f))
    assert_close(outputs, rms_norm(o.flatten(-2), (8,), cell.norm, 1e-5), rtol=0, atol=1e-12)
