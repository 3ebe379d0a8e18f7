"""The causal convolution before each cell: it equals PyTorch's, and its past is carried."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, prose
from torch import Tensor
from torch.nn.functional import conv1d
from torch.testing import assert_close

import charlm
from charlm.config import Config, describe_block, validate_config
from charlm.data.batches import BatchSampler
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.models.convolution import CausalConvolution
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.models.token_step import TokenStep
from charlm.training.trainer import Trainer

TIME, BATCH, SIZE, SYMBOLS = 12, 3, 5, 7
IDS = np.random.default_rng(0).integers(0, 9, 2000)
SHAPES = [
    {"num_layers": 1},
    {"num_layers": 2, "initial_state": "learned"},
    {"num_layers": 2, "block": "residual", "initial_state": "learned"},
    {"num_layers": 2, "cell": "depth-gated-lstm"},
]


def make_model(width: int = 4, **settings: object) -> CharLM:
    torch.manual_seed(1)
    values = {"cell": "gru", "hidden_size": 6, "embedding_dim": SIZE, "conv": width, **settings}
    model = build_char_lm(validate_config(values), SYMBOLS, "loop", "cpu").double()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape).double()
    return model


def random_ids() -> Tensor:
    return torch.randint(SYMBOLS, (TIME, BATCH), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("width", [1, 2, 4])
def test_it_equals_the_convolution_of_pytorch(width: int) -> None:
    torch.manual_seed(0)
    convolution, x = (
        CausalConvolution(SIZE, width).double(),
        torch.randn(TIME, BATCH, SIZE).double(),
    )
    outputs, _ = convolution(x, convolution.initial_state(BATCH))
    weight = torch.stack([*convolution.taps][::-1], dim=-1)[:, None]  # the oldest first
    padded = torch.nn.functional.pad(x.permute(1, 2, 0), (width - 1, 0))
    expected = conv1d(padded, weight, groups=SIZE).permute(2, 0, 1)
    assert_close(outputs, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cut", [0, 1, 2, 7])
def test_cutting_it_anywhere_changes_nothing(cut: int) -> None:
    torch.manual_seed(0)
    convolution, x = CausalConvolution(SIZE, 4), torch.randn(TIME, BATCH, SIZE)
    whole, end = convolution(x, convolution.initial_state(BATCH))
    first, state = convolution(x[:cut], convolution.initial_state(BATCH))
    second, state = convolution(x[cut:], state)
    assert torch.equal(torch.cat((first, second)), whole)
    assert all(map(torch.equal, state, end)) and len(end) == 3
    state = convolution.initial_state(BATCH)
    for token, expected in zip(x, whole, strict=True):
        output, state = convolution.step(token, state)
        assert torch.equal(output, expected)


@pytest.mark.parametrize("settings", SHAPES)
def test_a_model_reads_a_text_in_pieces_or_token_by_token_as_at_once(
    settings: dict[str, object],
) -> None:
    model, ids = make_model(**settings), random_ids()
    whole, end = model(ids, model.initial_state(BATCH))
    first, state = model(ids[:2], model.initial_state(BATCH))
    second, state = model(ids[2:], state)
    assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
    for layer, expected in zip(state, end, strict=True):
        assert_close(layer, expected, rtol=0, atol=1e-12)
    step = TokenStep(model)
    parts = step.initial_state(BATCH)
    assert_close(parts[0], model.next_token_logits(model.initial_state(BATCH)))
    for tokens, expected in zip(ids, whole, strict=True):
        parts = step.step(step.table[tokens], parts)
        assert_close(parts[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", SHAPES)
def test_an_output_depends_on_the_last_tokens_of_its_own_stream(
    settings: dict[str, object],
) -> None:
    model, ids = make_model(**settings), random_ids()
    changed = ids.clone()
    changed[4, 1] = (changed[4, 1] + 1) % SYMBOLS
    (before, _), (after, _) = (model(x, model.initial_state(BATCH)) for x in (ids, changed))
    differs = (before - after).abs().amax(-1) > 0
    assert not differs[:4].any() and not differs[:, [0, 2]].any()
    assert differs[4:8, 1].all()


def test_without_a_recurrent_weight_it_is_all_that_is_remembered() -> None:
    """An IndRNN whose recurrent weights are 0 sees the last four tokens and no others."""
    model, ids = make_model(cell="indrnn"), random_ids()
    model.cells[0].u.data.zero_()
    changed = ids.clone()
    changed[2] = (changed[2] + 1) % SYMBOLS
    (before, _), (after, _) = (model(x, model.initial_state(BATCH)) for x in (ids, changed))
    differs = (before - after).abs().amax((1, 2)) > 0
    assert differs.tolist() == [2 <= time < 6 for time in range(TIME)]


def test_its_weights_products_and_state_are_counted() -> None:
    with_it, without = (
        Config(cell="gru", hidden_size=6, embedding_dim=5, num_layers=2, conv=conv)
        for conv in (4, 0)
    )
    parameters, states = zip(
        *(count_parameters_and_state(config, SYMBOLS) for config in (with_it, without)), strict=True
    )
    assert parameters[0] - parameters[1] == 4 * (5 + 6)
    assert states[0] - states[1] == 3 * (5 + 6)
    flops = [flops_per_character(config, SYMBOLS) for config in (with_it, without)]
    assert flops[0] - flops[1] == 2 * 4 * (5 + 6)
    assert describe_block("none", 4) == "bare cells with a convolution of 4 tokens"
    assert describe_block("residual") == "residual blocks"


def new_trainer(width: int) -> Trainer[CharLM]:
    settings = TINY | {"batch_size": 4, "conv": width, "num_layers": 2, "dropout": 0.2}
    torch.manual_seed(0)
    config = validate_config(settings)
    return Trainer(build_char_lm(config, 9, "loop", "cpu"), config, 100)


def train_to(trainer: Trainer[CharLM], steps: int) -> None:
    batches = BatchSampler(IDS, 4, trainer.config.seq_len, 0)
    while trainer.step < steps:
        trainer.train_step(batches[trainer.step])


def test_training_carries_what_it_has_read_and_resumes_to_the_bit() -> None:
    whole, first, second = (new_trainer(3) for _ in range(3))
    train_to(whole, 7)
    train_to(first, 4)
    second.load_state(first.state_tensors(), first.progress(0, None))
    train_to(second, 7)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    forgetful = new_trainer(3)
    train_to(forgetful, 4)
    assert forgetful.carried is not None
    number = len(forgetful.model.cells[0].states)
    forgetful.carried = tuple(
        (*layer[:number], *map(torch.zeros_like, layer[number:])) for layer in forgetful.carried
    )
    train_to(forgetful, 7)
    weights = forgetful.model.state_dict()
    assert not all(torch.equal(weights[k], v) for k, v in whole.model.state_dict().items())


def test_an_exported_model_computes_the_same_and_has_its_width(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(prose(3000))
    settings = TINY | {"conv": 3, "num_layers": 2, "max_steps": 4, "cell": "deltanet"}
    settings |= {"num_heads": 2, "hidden_size": 8}
    run = charlm.train(
        str(tmp_path / "book.txt"), validate_config(settings), run_dir=tmp_path / "run"
    )
    report = charlm.export(run, tmp_path / "model")
    exact = next(check for check in report.parity if check.dtype == "float64")
    assert exact.max_difference < 1e-12
    exported = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (exported["conv"], exported["num_heads"]) == (3, 2)
