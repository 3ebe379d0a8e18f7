"""Tests of the model around the cells: initialization, blocks, dropout, states."""

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
from charlm.recipes import get_recipe
from charlm.testing.case import cell_cases

VOCABULARY_SIZE, TIME, BATCH = 9, 20, 3
BLOCK = {"block": "residual", "hidden_size": 8, "embedding_dim": 4, "num_layers": 2}


def new_model(**settings: object) -> CharLM:
    config = validate_config({**TINY, **settings})
    return build_char_lm(config, VOCABULARY_SIZE, select_kernel(config).name, "cpu")


# Initialization.


def test_default_settings_change_nothing() -> None:
    default = new_model().state_dict()
    for settings in ({"forget_bias": "default"}, {"recurrent_init": "default"}, {"block": "none"}):
        same = new_model(**settings).state_dict()
        assert default.keys() == same.keys()
        assert all(torch.equal(default[name], same[name]) for name in default)


def test_forget_bias_is_that_of_every_unit() -> None:
    for layer in new_model(cell="lstm", num_layers=2, forget_bias="2.5").cells:
        assert (layer.W.bias[8:16] == 2.5).all()
        assert not (layer.W.bias[:8] == -2.5).any()  # the input gate is unchanged
    (gru,) = new_model(cell="mingru", forget_bias="-3").cells
    assert (gru.W.bias[:8] == 3).all()


@pytest.mark.slow
def test_chrono_bias_spreads_time_constants_up_to_n() -> None:
    """Tallec & Ollivier (2018): b_f = log u, u uniform in [1, N - 1], and b_i = -b_f."""
    model = new_model(cell="lstm", hidden_size=2000, num_layers=2, forget_bias="chrono:500")
    drawn = [layer.W.bias[2000:4000].detach() for layer in model.cells]
    assert not torch.equal(*drawn)
    for layer, bias in zip(model.cells, drawn, strict=True):
        assert torch.equal(layer.W.bias[:2000], -bias)
        spans = bias.exp()
        assert spans.min().item() > 0.999 and spans.max().item() < 499.1
        assert float(spans.mean()) == pytest.approx(250, rel=0.05)
    short = new_model(cell="lstm", hidden_size=2000, forget_bias="chrono", seq_len=32).cells[0]
    assert 30.5 < short.W.bias[2000:4000].exp().max().item() < 31.1  # N is --seq-len


def is_orthogonal(matrix: Tensor) -> bool:
    return torch.allclose(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_matrices_start_as_the_recipe_says(cell: str) -> None:
    """Every gate by itself; IRNN, M2RNN, sLSTM and FastGRNN have other starts."""
    settings = {**TINY, "cell": cell, "num_layers": 2, "recurrent_init": "recipe"}
    config = validate_config(settings)
    matrices = [
        matrix
        for layer in CharLM(config, VOCABULARY_SIZE, "loop", "cpu").cells
        for matrix in layer.recurrent_matrices()
    ]
    assert all(map(is_orthogonal, matrices)) == (cell not in ("slstm", "fastgrnn"))
    if cell in ("irnn", "m2rnn"):
        assert matrices and all(torch.equal(one, torch.eye(len(one))) for one in matrices)
    elif matrices and cell not in ("slstm", "fastgrnn"):
        assert get_recipe(cell).recurrent_init == "orthogonal"
    if not matrices:
        assert get_recipe(cell).recurrent_init == "default"
    if cell == "slstm":
        assert not torch.stack(matrices).any()


def test_recurrent_init_can_be_chosen() -> None:
    for settings, expected in (
        ({"cell": "gru", "recurrent_init": "default"}, False),
        ({"cell": "gru", "recurrent_init": "orthogonal"}, True),
        ({"cell": "slstm", "recurrent_init": "orthogonal"}, True),
    ):
        (layer,) = new_model(**settings).cells
        assert all(map(is_orthogonal, layer.recurrent_matrices())) == expected, settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "rnn", "forget_bias": "chrono"}, "rnn has no forget gate"),
        ({"cell": "rg-lru", "forget_bias": "0"}, "rg-lru starts with time constants of its own"),
        (
            {"cell": "mingru", "recurrent_init": "orthogonal"},
            "MinGRU has no hidden-to-hidden matrix",
        ),
        ({"cell": "mingru", "weight_dropout": 0.1}, "MinGRU has no hidden-to-hidden matrix"),
        ({"cell": "depth-gated-lstm", "block": "residual"}, "reads 8 numbers and outputs 16"),
        ({"forget_bias": "much"}, "--forget-bias much: it must be default, a number, chrono"),
        ({"forget_bias": "inf"}, "--forget-bias inf: it must be default, a number"),
        ({"forget_bias": "chrono:2"}, "--forget-bias chrono:2: .* at least 3 tokens"),
        ({"forget_bias": "chrono", "seq_len": 2}, "--forget-bias chrono: .* at least 3 tokens"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        new_model(**settings)


# Blocks.


def naive_logits(model: CharLM, ids: Tensor) -> Tensor:
    """Return the logits of a residual model, computed from its definition."""
    weights = model.state_dict()

    def norm(x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[name]

    x = embedding(ids, weights["embed.weight"])
    if "input_projection.weight" in weights:
        x = x @ weights["input_projection.weight"].T
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


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "mingru", "lru"])
@pytest.mark.parametrize("time", [TIME, 1])  # one token: no table is projected for it
@pytest.mark.parametrize("embed", [4, 8])
def test_residual_model_equals_its_definition(cell: str, time: int, embed: int) -> None:
    model = new_model(
        **BLOCK | {"embedding_dim": embed, "tie_weights": embed == 8}, cell=cell
    ).double()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    ids = torch.randint(VOCABULARY_SIZE, (time, BATCH))
    logits, _ = model(ids, model.initial_state(BATCH))
    assert_close(logits, naive_logits(model, ids), rtol=0, atol=1e-10)


def test_norm_is_pytorchs_rms_norm() -> None:
    x, gain = torch.randn(3, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    ours = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain
    assert_close(ours, rms_norm(x, (8,), gain, eps=1e-6))


@pytest.mark.parametrize("initial_state", ["zero", "learned"])
def test_state_predicts_the_next_token(initial_state: str) -> None:
    """Evaluation and generation use the state alone, for the first token too."""
    model = new_model(**BLOCK, initial_state=initial_state).double().eval()
    ids = torch.randint(VOCABULARY_SIZE, (TIME, BATCH))
    state = model.initial_state(BATCH)
    assert_close(model.next_token_logits(state), model.bias.expand(BATCH, VOCABULARY_SIZE))
    whole, end = model(ids, state)
    assert_close(model.next_token_logits(end), whole[-1], rtol=0, atol=1e-12)
    for cut in range(1, TIME):
        first, between = model(ids[:cut], state)
        second, _ = model(ids[cut:], between)
        assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_residual_model_scores_and_generates() -> None:
    vocabulary = Vocabulary("chars", tuple(range(97, 97 + VOCABULARY_SIZE - 1)))
    model = new_model(**BLOCK).double()
    ids = np.random.default_rng(0).integers(0, VOCABULARY_SIZE - 1, (3000, 1))
    nll = torch.cat(list(iter_token_nll(model, ids, vocabulary)))
    with torch.no_grad():
        logits = naive_logits(model, torch.from_numpy(ids))
    previous = torch.cat((model.bias.detach().expand(1, 1, VOCABULARY_SIZE), logits[:-1]))
    expected = -previous.log_softmax(-1).gather(-1, torch.from_numpy(ids)[..., None])[..., 0]
    assert_close(nll, expected, rtol=0, atol=1e-9)
    text = b"".join(iter_generated(model, vocabulary, "abc", 30, temperature=0)).decode()
    read = torch.tensor(vocabulary.encode("abc" + text))[:, None]
    best = naive_logits(model, read)[2:-1, 0].argmax(-1)
    assert vocabulary.encode(text) == best.tolist()


def test_residual_dropout_acts_in_training_only() -> None:
    model = new_model(**BLOCK, dropout=0.5).double()
    ids = torch.randint(VOCABULARY_SIZE, (TIME, BATCH))
    one, other = (model(ids, model.initial_state(BATCH))[0] for _ in range(2))
    assert not torch.equal(one, other)
    model.eval()
    assert_close(
        model(ids, model.initial_state(BATCH))[0], naive_logits(model, ids), rtol=0, atol=1e-10
    )


def test_gradient_reaches_every_parameter() -> None:
    for settings in (
        BLOCK,
        {**BLOCK, "embedding_dim": 8, "tie_weights": True, "initial_state": "learned"},
    ):
        model = new_model(**settings)
        ids = torch.randint(VOCABULARY_SIZE, (TIME, BATCH))
        model(ids, model.initial_state(BATCH))[0].square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.norm() > 0, name


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "depth-gated-lstm"])
def test_residual_blocks_are_counted(cell: str) -> None:
    config = validate_config({**TINY, **BLOCK, "hidden_size": 24, "cell": cell})
    bare = validate_config({**TINY, **BLOCK, "hidden_size": 24, "cell": cell, "block": "none"})
    parameters, state = count_parameters_and_state(config, VOCABULARY_SIZE)
    model = build_char_lm(config, VOCABULARY_SIZE, "loop", "cpu")
    assert parameters == sum(p.numel() for p in model.parameters())
    cells = sum(p.numel() for layer in model.cells for p in layer.parameters())
    # Per layer two norms and 3 matrices of 24 by 32; input projection, last norm, embedding,
    # prediction.
    blocks = 2 * (2 * 24 + 3 * 24 * 32) + 4 * 24 + 24 + VOCABULARY_SIZE * (4 + 24 + 1)
    assert parameters == cells + blocks
    assert estimate_training_memory(config, VOCABULARY_SIZE, "cpu") > estimate_training_memory(
        bare, VOCABULARY_SIZE, "cpu"
    )
    carried = sum(
        part.numel()
        for layer in model.cells
        for part in layer.initial_state(1)[layer.output_is_readout :]
    )
    assert state == carried  # the last output is not carried: no layer reads it


def test_mlp_has_half_the_weights_of_an_lstm() -> None:
    model = new_model(block="residual", hidden_size=96, embedding_dim=96)
    mlp = sum(p.numel() for name, p in model.named_parameters() if "up." in name or "down." in name)
    (lstm,) = model.cells
    assert mlp == 4 * 96 * 96 == (lstm.W.weight.numel() + lstm.U.weight.numel()) / 2


# Bare cells.


@pytest.mark.parametrize(
    "cell",
    [
        name if name in ("gru", "mingru") else pytest.param(name, marks=pytest.mark.slow)
        for name in CELLS
    ],
)
def test_text_may_be_cut_anywhere_in_two_layers(cell: str) -> None:
    hidden_size = cell_cases(cell)[0].hidden_size  # for which compiled kernels may be cached
    config = validate_config(
        {"cell": cell, "num_layers": 2, "hidden_size": hidden_size, "embedding_dim": 4}
    )
    torch.manual_seed(0)
    model = CharLM(config, 9, select_kernel(config).name).double().eval()
    ids = torch.randint(9, (11, BATCH))
    logits, end = model(ids, model.initial_state(BATCH))
    first, middle = model(ids[:4], model.initial_state(BATCH))
    second, last = model(ids[4:], middle)
    assert_close(torch.cat((first, second)), logits, rtol=0, atol=1e-12)
    assert_close(last, end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_dropout_acts_on_layer_outputs_in_training_only(num_layers: int) -> None:
    config = validate_config(
        {"dropout": 0.5, "num_layers": num_layers, "hidden_size": 6, "embedding_dim": 4}
    )
    model = CharLM(config, 9)
    ids = torch.randint(9, (11, BATCH))
    first, state = model(ids, model.initial_state(BATCH))
    second, other_state = model(ids, model.initial_state(BATCH))
    assert not torch.equal(first, second)
    assert_close(state[0], other_state[0], rtol=0, atol=0)  # never on the carried state
    model.eval()
    first, _ = model(ids, model.initial_state(BATCH))
    second, _ = model(ids, model.initial_state(BATCH))
    assert torch.equal(first, second)


def test_tied_weights_are_one_table() -> None:
    tied = CharLM(validate_config({"tie_weights": True, "embedding_dim": 6, "hidden_size": 6}), 9)
    untied = CharLM(validate_config({"embedding_dim": 6, "hidden_size": 6}), 9)
    counts = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert counts[1] - counts[0] == 9 * 6
    with pytest.raises(ConfigError, match="--embedding-dim 256"):
        validate_config({"tie_weights": True})
