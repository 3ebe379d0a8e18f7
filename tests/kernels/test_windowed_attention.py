"""Tests of windowed attention, token by token and a window at once."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charlm.cells.attention import Attention
from charlm.cells.base import State
from charlm.config import validate_config
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import Unroll
from charlm.kernels.windowed_attention import windowed_attention
from charlm.models.build import build_char_lm
from charlm.models.cost import estimate_training_memory
from charlm.testing.kernel_checks import assert_same, forward_and_gradients

TIME, BATCH, INPUTS, SLOPES = 23, 3, 5, (1, 1 / 4, 1 / 16, 1 / 64)


class Short(Attention):
    """Attention with a window that a short text exceeds."""

    window = 4


def new_cell(hidden: int, kind: type[Attention] = Short) -> Attention:
    torch.manual_seed(1)
    return kind(INPUTS, hidden).double()


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def three_states(cell: Attention) -> State:
    """Return three streams: with an empty, a half-full and a full window."""
    h, K, V, _ = cell.initial_state(BATCH)
    t = torch.tensor([[0], [cell.window // 2], [cell.window]]).double()
    return h, torch.randn_like(K), torch.randn_like(V), t


def naive_attention(cell: Attention, x: Tensor) -> Tensor:
    """Return the outputs of one stream x (time, inputs), head by head, over all pairs."""
    q, k, v = (x @ cell.W.weight.T).chunk(3, dim=-1)
    now = torch.arange(len(x))
    d = now[:, None] - now
    attended = torch.empty_like(v)
    for head, slope in enumerate(SLOPES):
        match = q[:, head::4] @ k[:, head::4].T / (cell.hidden_size / 4) ** 0.5 - slope * d
        a = match.masked_fill((d < 0) | (d > cell.window), -torch.inf).softmax(-1)
        attended[:, head::4] = a @ v[:, head::4]
    return attended @ cell.O.weight.T


@pytest.mark.parametrize("unroll", [unroll_loop, windowed_attention])
@pytest.mark.parametrize("hidden", [8, 6])  # two heads of 6 units have two of them, two have one
def test_it_is_softmax_attention_over_a_band(unroll: Unroll, hidden: int) -> None:
    cell, x = new_cell(hidden), randn(TIME, BATCH, INPUTS)
    outputs, _ = unroll(cell, x, cell.initial_state(BATCH), None)
    for stream in range(BATCH):
        assert_close(outputs[:, stream], naive_attention(cell, x[:, stream]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [Short, Attention])
def test_window_at_once_equals_loop_from_any_window(kind: type[Attention]) -> None:
    """Outputs, last state and every gradient, over several windows, the last one shorter."""
    cell = new_cell(6, kind)
    x, start = randn(cell.window * 2 + 3, BATCH, INPUTS), three_states(cell)
    expected = forward_and_gradients(cell, unroll_loop, x, start)
    assert expected["the gradient of initial K"][1:].norm() > 0
    assert (expected["the last t"] == cell.window).all()
    assert_same("windowed", forward_and_gradients(cell, windowed_attention, x, start), expected)


@pytest.mark.parametrize("unroll", [unroll_loop, windowed_attention])
def test_tokens_before_the_window_have_no_effect(unroll: Unroll) -> None:
    cell, x = new_cell(8), randn(TIME, BATCH, INPUTS)
    other = x.clone()
    other[7] += 1
    one, two = (unroll(cell, text, cell.initial_state(BATCH), None)[0] for text in (x, other))
    changed = (one != two).any(-1).any(-1)
    assert changed.nonzero().flatten().tolist() == list(range(7, 7 + cell.window + 1))


@pytest.mark.parametrize("unroll", [unroll_loop, windowed_attention])
def test_only_the_last_t_entries_of_the_window_are_visible(unroll: Unroll) -> None:
    """The first token sees only itself, whatever an empty window contains."""
    cell, x = new_cell(8), randn(1, BATCH, INPUTS)
    h, K, V, t = three_states(cell)
    outputs, _ = unroll(cell, x, (h, K, V, torch.zeros_like(t)), None)
    v = cell.project_inputs(x)[..., -8:]
    assert_close(outputs, cell.O(v), rtol=0, atol=1e-12)
    K2 = K.clone()
    K2[1, : cell.window // 2] += 1  # before the start of the stream whose window is half full
    for keys_of_other, is_same in ((K2, True), (K2.roll(cell.window // 2, 1), False)):
        one, two = (unroll(cell, x, (h, keys, V, t), None)[0] for keys in (K, keys_of_other))
        assert torch.equal(one[0, 1], two[0, 1]) is is_same


def test_memory_estimate_includes_the_window() -> None:
    """The estimate is more than what the backward pass saves, but less than twice as much."""
    config = validate_config(
        {"cell": "attention", "block": "residual", "num_layers": 3, "hidden_size": 66}
        | {"batch_size": 32}  # 0 is left to the recipe
    )
    model = build_char_lm(config, 65, "native", "cpu")
    saved: dict[int, int] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        logits, _ = model(
            torch.zeros(config.seq_len, config.batch_size).long(),
            model.initial_state(config.batch_size),
        )
    estimate = estimate_training_memory(config, 65, "cpu")
    assert sum(saved.values()) < estimate < 2 * sum(saved.values())


def test_learned_initial_state_excludes_the_window() -> None:
    """K and V of an empty window would be parameters without a gradient."""
    config = validate_config(
        {"cell": "attention", "block": "residual", "initial_state": "learned", "hidden_size": 8}
    )
    model = build_char_lm(config, 5, "native", "cpu")
    assert [tuple(part.shape) for part in model.initial_states] == [(1, 8)]
    (h, K, V, t), _ = model.initial_state(3)
    assert h.requires_grad and not any(part.requires_grad or part.any() for part in (K, V, t))
