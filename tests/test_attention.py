"""Attention over the last characters, walked one by one and a window at once."""

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
    """A window that is full, and left behind, within a short text."""

    window = 4


def made(hidden: int, kind: type[Attention] = Short) -> Attention:
    torch.manual_seed(1)
    return kind(INPUTS, hidden).double()


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def somewhere(cell: Attention) -> State:
    """One stream at its beginning, one whose window is half full, and one whose is full."""
    h, K, V, _ = cell.initial_state(BATCH)
    t = torch.tensor([[0], [cell.window // 2], [cell.window]]).double()
    return h, torch.randn_like(K), torch.randn_like(V), t


def by_hand(cell: Attention, x: Tensor) -> Tensor:
    """From the beginning (time, inputs), head by head, all pairs of characters."""
    q, k, v = (x @ cell.W.weight.T).chunk(3, dim=-1)
    now = torch.arange(len(x))
    d = now[:, None] - now
    found = torch.empty_like(v)
    for head, slope in enumerate(SLOPES):
        match = q[:, head::4] @ k[:, head::4].T / (cell.hidden_size / 4) ** 0.5 - slope * d
        a = match.masked_fill((d < 0) | (d > cell.window), -torch.inf).softmax(-1)
        found[:, head::4] = a @ v[:, head::4]
    return found @ cell.O.weight.T


@pytest.mark.parametrize("walk", [unroll_loop, windowed_attention])
@pytest.mark.parametrize("hidden", [8, 6])  # two heads of 6 units have two of them, two have one
def test_it_is_softmax_attention_over_a_band(walk: Unroll, hidden: int) -> None:
    cell, x = made(hidden), some(TIME, BATCH, INPUTS)
    outputs, _ = walk(cell, x, cell.initial_state(BATCH), None)
    for stream in range(BATCH):
        assert_close(outputs[:, stream], by_hand(cell, x[:, stream]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [Short, Attention])
def test_a_window_at_once_is_the_walk_whatever_the_window_holds(kind: type[Attention]) -> None:
    """Outputs, last state and every gradient, over several windows, the last of them cut short."""
    cell = made(6, kind)
    x, start = some(cell.window * 2 + 3, BATCH, INPUTS), somewhere(cell)
    wanted = forward_and_gradients(cell, unroll_loop, x, start)
    assert wanted["the gradient of start K"][1:].norm() > 0
    assert (wanted["the last t"] == cell.window).all()
    assert_same("windowed", forward_and_gradients(cell, windowed_attention, x, start), wanted)


@pytest.mark.parametrize("walk", [unroll_loop, windowed_attention])
def test_what_is_further_back_than_the_window_is_forgotten(walk: Unroll) -> None:
    cell, x = made(8), some(TIME, BATCH, INPUTS)
    other = x.clone()
    other[7] += 1
    one, two = (walk(cell, text, cell.initial_state(BATCH), None)[0] for text in (x, other))
    changed = (one != two).any(-1).any(-1)
    assert changed.nonzero().flatten().tolist() == list(range(7, 7 + cell.window + 1))


@pytest.mark.parametrize("walk", [unroll_loop, windowed_attention])
def test_of_the_window_only_t_characters_are_there(walk: Unroll) -> None:
    """So the first character sees itself alone, whatever a window that is empty holds."""
    cell, x = made(8), some(1, BATCH, INPUTS)
    h, K, V, t = somewhere(cell)
    outputs, _ = walk(cell, x, (h, K, V, torch.zeros_like(t)), None)
    v = cell.project_inputs(x)[..., -8:]
    assert_close(outputs, cell.O(v), rtol=0, atol=1e-12)
    K2 = K.clone()
    K2[1, : cell.window // 2] += 1  # before the stream whose window is half full began
    for other, same in ((K2, True), (K2.roll(cell.window // 2, 1), False)):
        one, two = (walk(cell, x, (h, keys, V, t), None)[0] for keys in (K, other))
        assert torch.equal(one[0, 1], two[0, 1]) is same


def test_the_window_is_counted_in_the_memory_that_training_needs() -> None:
    """What the way back needs, measured: the estimate is more, but not twice as much."""
    config = validate_config(
        {"cell": "attention", "block": "residual", "num_layers": 3, "hidden_size": 66}
    )
    model = build_char_lm(config, 65, "fused", "cpu")
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits, _ = model(
            torch.zeros(config.seq_len, config.batch_size).long(),
            model.initial_state(config.batch_size),
        )
    assert sum(kept.values()) < estimate_training_memory(config, 65) < 2 * sum(kept.values())


def test_a_learned_start_has_no_window() -> None:
    """K and V of a window that is empty would be weights that nothing can train."""
    config = validate_config(
        {"cell": "attention", "block": "residual", "initial_state": "learned", "hidden_size": 8}
    )
    model = build_char_lm(config, 5, "fused", "cpu")
    assert [tuple(part.shape) for part in model.initial_states] == [(1, 8)]
    (h, K, V, t), _ = model.initial_state(3)
    assert h.requires_grad and not any(part.requires_grad or part.any() for part in (K, V, t))
