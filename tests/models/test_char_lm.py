"""The model around the cells: how it begins, and the block that may stand around each of them."""

import numpy as np
import pytest
import torch
from conftest import TINY
from torch import Tensor
from torch.nn.functional import embedding, rms_norm, silu
from torch.testing import assert_close

from charlm.cells.base import CELLS
from charlm.config import validate_config
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError
from charlm.evaluation.generation import iter_generated
from charlm.evaluation.scoring import iter_token_nll
from charlm.kernels.loop import unroll_loop
from charlm.models.build import build_char_lm, select_kernel
from charlm.models.char_lm import CharLM
from charlm.models.cost import count_parameters_and_state, estimate_training_memory

SYMBOLS, TIME, BATCH = 9, 20, 3
BLOCK = {"block": "residual", "hidden_size": 8, "embedding_dim": 4, "num_layers": 2}


def made(**settings: object) -> CharLM:
    config = validate_config({**TINY, **settings})
    return build_char_lm(config, SYMBOLS, select_kernel(config)[0], "cpu")


# beginnings


def test_what_is_not_asked_for_changes_nothing() -> None:
    usual = made().state_dict()
    for settings in ({"forget_bias": "1"}, {"recurrent_init": "default"}, {"block": "none"}):
        same = made(**settings).state_dict()
        assert usual.keys() == same.keys()
        assert all(torch.equal(usual[name], same[name]) for name in usual)


def test_a_number_is_the_bias_of_every_unit_that_keeps() -> None:
    for layer in made(cell="lstm", num_layers=2, forget_bias="2.5").cells:
        assert (layer.W.bias[8:16] == 2.5).all()
        assert not (layer.W.bias[:8] == -2.5).any()  # the input gate keeps its own
    (gru,) = made(cell="mingru", forget_bias="-3").cells
    assert (gru.W.bias[:8] == 3).all()


def test_chrono_lets_units_keep_from_one_to_n_characters() -> None:
    """Tallec & Ollivier (2018): b_f = log u, u uniform in [1, N - 1], and b_i = -b_f."""
    model = made(cell="lstm", hidden_size=2000, num_layers=2, forget_bias="chrono:500")
    drawn = [layer.W.bias[2000:4000].detach() for layer in model.cells]
    assert not torch.equal(*drawn)
    for layer, bias in zip(model.cells, drawn, strict=True):
        assert torch.equal(layer.W.bias[:2000], -bias)
        spans = bias.exp()
        assert spans.min().item() > 0.999 and spans.max().item() < 499.1
        assert float(spans.mean()) == pytest.approx(250, rel=0.05)
    short = made(cell="lstm", hidden_size=2000, forget_bias="chrono", time=32).cells[0]
    assert 30.5 < short.W.bias[2000:4000].exp().max().item() < 31.1  # N is --seq-len


def test_orthogonal_matrices_are_orthogonal() -> None:
    for cell in ("lstm", "gru", "irnn", "mul-lstm"):
        for layer in made(cell=cell, num_layers=2, recurrent_init="orthogonal").cells:
            for matrix in layer.recurrent_matrices():
                assert_close(matrix @ matrix.T, torch.eye(8), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cell": "rnn", "forget_bias": "chrono"}, "RNN has no gate that keeps"),
        ({"cell": "mingru", "recurrent_init": "orthogonal"}, "MinGRU has no matrix from state to"),
        ({"cell": "mingru", "weight_dropout": 0.1}, "MinGRU has no matrix from state to"),
        ({"cell": "depth-gated-lstm", "block": "residual"}, "hands on more than its output"),
        ({"forget_bias": "much"}, "--forget-bias much: a number such as 2, chrono, or chrono:100"),
        ({"forget_bias": "inf"}, "--forget-bias inf: a number"),
        ({"forget_bias": "chrono:2"}, "--forget-bias chrono:2: of at least 3 characters"),
        ({"forget_bias": "chrono", "seq_len": 2}, "--forget-bias chrono: of at least 3 characters"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made(**settings)


# the block


def by_hand(model: CharLM, ids: Tensor) -> Tensor:
    """The residual model's logits, written down from its definition."""
    weights = model.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[name]

    x = embedding(ids, weights["embed.weight"])
    if "lift.weight" in weights:
        x = x @ weights["lift.weight"].T
    for number, cell in enumerate(model.cells):
        part = f"blocks.{number}."
        outputs, _ = unroll_loop(
            cell, norm(x, part + "before_cell.weight"), cell.initial_state(ids.shape[1])
        )
        x = x + outputs
        up = norm(x, part + "before_mlp.weight") @ weights[part + "up.weight"].T
        gate, value = up.chunk(2, dim=-1)
        x = x + (silu(gate) * value) @ weights[part + "down.weight"].T
    table = weights.get("weight", weights["embed.weight"])
    return norm(x, "norm.weight") @ table.T + weights["bias"]


@pytest.mark.parametrize("cell", ["lstm", "mingru", "lru"])
@pytest.mark.parametrize("time", [TIME, 1])  # one character: no table is projected for it
@pytest.mark.parametrize("embed", [4, 8])
def test_the_residual_block_is_what_it_says(cell: str, time: int, embed: int) -> None:
    model = made(**BLOCK | {"embedding_dim": embed, "tie_weights": embed == 8}, cell=cell).double()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    ids = torch.randint(SYMBOLS, (time, BATCH))
    logits, _ = model(ids, model.initial_state(BATCH))
    assert_close(logits, by_hand(model, ids), rtol=0, atol=1e-10)


def test_pytorch_calls_the_same_an_rms_norm() -> None:
    x, gain = torch.randn(3, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    ours = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain
    assert_close(ours, rms_norm(x, (8,), gain, eps=1e-6))


@pytest.mark.parametrize("start", ["zero", "learned"])
def test_what_is_expected_next_is_in_the_state(start: str) -> None:
    """Evaluation and sampling go from the state alone; of the first character, too."""
    model = made(**BLOCK, start=start).double().eval()
    ids = torch.randint(SYMBOLS, (TIME, BATCH))
    state = model.initial_state(BATCH)
    assert_close(model.next_token_logits(state), model.bias.expand(BATCH, SYMBOLS))
    whole, end = model(ids, state)
    assert_close(model.next_token_logits(end), whole[-1], rtol=0, atol=1e-12)
    for cut in range(1, TIME):
        first, between = model(ids[:cut], state)
        second, _ = model(ids[cut:], between)
        assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)


def test_a_residual_model_is_scored_and_writes() -> None:
    alphabet = Vocabulary("chars", tuple(range(97, 97 + SYMBOLS - 1)))
    model = made(**BLOCK).double()
    ids = np.random.default_rng(0).integers(0, SYMBOLS - 1, (3000, 1))
    found = torch.cat(list(iter_token_nll(model, ids, alphabet)))
    with torch.no_grad():
        logits = by_hand(model, torch.from_numpy(ids))
    before = torch.cat((model.bias.detach().expand(1, 1, SYMBOLS), logits[:-1]))
    wanted = -before.log_softmax(-1).gather(-1, torch.from_numpy(ids)[..., None])[..., 0]
    assert_close(found, wanted, rtol=0, atol=1e-9)
    text = b"".join(iter_generated(model, alphabet, "abc", 30, temperature=0)).decode()
    read = torch.tensor(alphabet.encode("abc" + text))[:, None]
    best = by_hand(model, read)[2:-1, 0].argmax(-1)
    assert alphabet.encode(text) == best.tolist()


def test_dropout_acts_on_each_branch_and_in_training_only() -> None:
    model = made(**BLOCK, dropout=0.5).double()
    ids = torch.randint(SYMBOLS, (TIME, BATCH))
    one, other = (model(ids, model.initial_state(BATCH))[0] for _ in range(2))
    assert not torch.equal(one, other)
    model.eval()
    assert_close(model(ids, model.initial_state(BATCH))[0], by_hand(model, ids), rtol=0, atol=1e-10)


def test_a_gradient_reaches_every_weight() -> None:
    for settings in (
        BLOCK,
        {**BLOCK, "embedding_dim": 8, "tie_weights": True, "initial_state": "learned"},
    ):
        model = made(**settings)
        ids = torch.randint(SYMBOLS, (TIME, BATCH))
        model(ids, model.initial_state(BATCH))[0].square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.norm() > 0, name


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "depth-gated-lstm"])
def test_the_block_is_counted(cell: str) -> None:
    config = validate_config({**TINY, **BLOCK, "hidden_size": 24, "cell": cell})
    bare = validate_config({**TINY, **BLOCK, "hidden_size": 24, "cell": cell, "block": "none"})
    parameters, state = count_parameters_and_state(config, SYMBOLS)
    model = build_char_lm(config, SYMBOLS, "loop", "cpu")
    assert parameters == sum(p.numel() for p in model.parameters())
    cells = sum(p.numel() for layer in model.cells for p in layer.parameters())
    # two norms and 3 matrices of 24 by 32 a layer; lift, last norm, embedding and prediction
    around = 2 * (2 * 24 + 3 * 24 * 32) + 4 * 24 + 24 + SYMBOLS * (4 + 24 + 1)
    assert parameters == cells + around
    assert estimate_training_memory(config, SYMBOLS) > estimate_training_memory(bare, SYMBOLS)
    carried = sum(
        part.numel()
        for layer in model.cells
        for part in layer.initial_state(1)[layer.output_is_readout :]
    )
    assert state == carried  # the last output is not carried: no layer reads it


def test_the_block_has_half_the_weights_of_an_lstm_s_recurrence() -> None:
    model = made(block="residual", hidden_size=96, embedding_dim=96)
    mlp = sum(p.numel() for name, p in model.named_parameters() if "up." in name or "down." in name)
    (lstm,) = model.cells
    assert mlp == 4 * 96 * 96 == (lstm.W.weight.numel() + lstm.U.weight.numel()) / 2


def test_several_threads_are_left_to_pytorchs_own_kernel_where_the_cell_has_it() -> None:
    assert select_kernel(validate_config({"cell": "gru", "threads": 2}))[0] == "fused"
    assert "all 2 threads" in select_kernel(validate_config({"cell": "gru", "threads": 2}))[1]
    assert select_kernel(validate_config({"cell": "sru", "threads": 2}))[0] != "fused"
