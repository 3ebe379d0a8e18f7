"""Options that only some cells have: heads of a matrix state, eigenvalues of a transition."""

from pathlib import Path

import pytest
import torch
from conftest import prose

import charlm
from charlm.cells.base import CELLS
from charlm.comparison.budget_matching import match_budget, matched_configs
from charlm.comparison.entries import shared_settings
from charlm.config import Config, validate_config
from charlm.errors import ConfigError
from charlm.models.build import build_char_lm
from charlm.models.cell_options import check_cell_options, settings_for
from charlm.models.recurrent import build_cell
from charlm.settings.model import CELL_OPTIONS

OTHERS = {"num_heads": 2, "eigenvalues": "signed"}
WITH_OPTIONS = [name for name in CELLS if CELLS[name].options]


def test_options_of_cells_are_settings_with_the_same_defaults() -> None:
    for name in WITH_OPTIONS:
        cell = CELLS[name](4, 8)
        assert {*cell.options} <= {*CELL_OPTIONS}
        for option in cell.options:
            assert getattr(cell, option) == getattr(Config(), option), (name, option)


@pytest.mark.parametrize("block", ["none", "residual"])
@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_every_layer_of_a_model_has_the_options_of_its_config(name: str, block: str) -> None:
    settings = {"cell": name, "hidden_size": 8, "embedding_dim": 8, "num_layers": 2}
    given = {option: OTHERS[option] for option in CELLS[name].options}
    model = build_char_lm(validate_config({**settings, **given, "block": block}), 5, "loop", "cpu")
    assert len(model.cells) == 2
    for cell in model.cells:
        assert {option: getattr(cell, option) for option in given} == given


def test_signed_eigenvalues_change_what_a_cell_computes() -> None:
    for name in WITH_OPTIONS:
        if "eigenvalues" not in CELLS[name].options:
            continue
        small, states = {"cell": name, "hidden_size": 8}, []
        for eigenvalues in ("positive", "signed"):
            torch.manual_seed(3)
            cell = build_cell(validate_config({**small, "eigenvalues": eigenvalues}), 4).double()
            state = cell.initial_state(2)
            for x in torch.linspace(-1, 1, 24).double().view(3, 2, 4):
                state = cell.step(cell.project_inputs(x), state)
            states.append(state[0])
        assert (states[0] - states[1]).abs().max() > 1e-6, name


def test_a_cell_without_an_option_refuses_it_and_names_one_that_has_it() -> None:
    check_cell_options(validate_config({"cell": "deltanet", "hidden_size": 8, "num_heads": 8}))
    check_cell_options(validate_config({"cell": "lstm", "num_heads": 4}))  # the default
    with pytest.raises(ConfigError, match=r"--num-heads 8: lstm has no such option.*deltanet"):
        check_cell_options(validate_config({"cell": "lstm", "num_heads": 8}))
    with pytest.raises(ConfigError, match=r"--eigenvalues signed: gla has no such option"):
        check_cell_options(validate_config({"cell": "gla", "eigenvalues": "signed"}))


def test_training_refuses_an_option_that_the_cell_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(prose(2000))
    config = validate_config({"cell": "gru", "eigenvalues": "signed", "max_steps": 1})
    with pytest.raises(ConfigError, match="--eigenvalues signed: gru has no such option"):
        charlm.train([str(tmp_path / "text.txt")], config, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_units_must_be_a_multiple_of_the_heads() -> None:
    assert CELLS["deltanet"].size_multiple() == 4 and CELLS["deltanet"].size_multiple(3) == 3
    assert CELLS["lstm"].size_multiple(3) == 1
    with pytest.raises(ConfigError, match=r"30 units: deltanet needs a multiple of 8.*-size 32"):
        CELLS["deltanet"](4, 30, num_heads=8)


def test_a_comparison_gives_an_option_to_the_cells_that_have_it() -> None:
    settings = {"num_heads": 6, "embedding_dim": 8}
    match = match_budget(settings, ["gru", "deltanet"], 6000, 30)
    configs = matched_configs(settings, 1, match)
    heads = {config.cell: (config.num_heads, config.hidden_size) for config in configs}
    assert heads["gru"][0] == Config().num_heads
    assert heads["deltanet"][0] == 6 and heads["deltanet"][1] % 6 == 0
    assert shared_settings(configs)["num_heads"] == 6
    assert settings_for("gru", settings) == {"cell": "gru", "embedding_dim": 8}
    with pytest.raises(ConfigError, match=r"--num-heads 6: none of gru, lstm has this option"):
        match_budget(settings, ["gru", "lstm"], 6000, 30)


def test_more_heads_hold_the_state_down() -> None:
    """The state of `--match state` is heads x (units / heads)^2 numbers."""
    few, many = (
        match_budget({"num_heads": heads}, ["lstm", "deltanet"], 6000, 30, "state")
        for heads in (2, 16)
    )
    assert many.hidden_sizes["deltanet"] > few.hidden_sizes["deltanet"]
