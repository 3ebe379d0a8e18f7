"""Plans of comparisons: references, blocks of linear cells, budgets and sizes."""

from pathlib import Path

import pytest
from comparison_plans import SETTINGS, make_entries

from charlm.comparison.budget_matching import match_budget
from charlm.comparison.cell_properties import choose_reference, linear_beside_others
from charlm.comparison.plan import budget_in_characters, resolve_recipe
from charlm.comparison.request import ComparisonRequest
from charlm.comparison.size_check import check_sizes
from charlm.config import validate_config
from charlm.errors import ConfigError

RECIPE = {"embedding_dim": 8, "characters": 100_000}


@pytest.mark.parametrize(
    ("cells", "reference"),
    [
        (("rnn", "lstm", "gru"), "gru"),
        (("rnn", "lstm", "mul-lstm"), "lstm"),
        (("irnn", "rnn"), "irnn"),
    ],
    ids=str,
)
def test_reference_has_gates_if_any_cell_has(cells: tuple[str, ...], reference: str) -> None:
    assert choose_reference(cells) == reference


def test_linear_cells_are_named_only_beside_others() -> None:
    assert linear_beside_others(["gru", "lru", "mingru", "lstm"]) == ("lru", "mingru")
    assert linear_beside_others(["lru", "mingru"]) == ()
    assert linear_beside_others(["gru", "rnn", "sru"]) == ()


def test_entries_have_their_recipes_and_read_the_same_characters(tmp_path: Path) -> None:
    request = ComparisonRequest(cells=("gru", "rnn"), settings=RECIPE, seeds=2, baselines=())
    gru, rnn = make_entries(tmp_path, request)
    assert gru.runs[0].config.learning_rate != rnn.runs[0].config.learning_rate
    for entry in (gru, rnn):
        for run in entry.runs:
            config = run.config
            assert config.characters == 100_000 and config.batch_size and config.grad_clip
            assert run.max_steps == 100_000 // (config.batch_size * config.seq_len)
    assert [run.config.branches for run in gru.runs] == ["1/8,1/3", "1/8,1/3"]
    given = make_entries(tmp_path, ComparisonRequest(settings={**RECIPE, "learning_rate": 0.01}))
    assert {run.config.branches for entry in given for run in entry.runs} == {"1/8,1/3"}


def test_every_budget_becomes_characters() -> None:
    cells = ("gru", "rnn")
    assert budget_in_characters({"epochs": 2.0}, cells, 1000) == 2000
    steps = {"max_steps": 10, "batch_size": 4, "seq_len": 16}
    assert budget_in_characters(steps, cells, 1000) == 640


def test_budget_of_less_than_a_step_is_refused() -> None:
    config = validate_config({"cell": "gru", "hidden_size": 8, "batch_size": 8})
    with pytest.raises(ConfigError, match=r"gru on 100 characters: a step reads 512. Try --char"):
        resolve_recipe(config, 50, 100)


def test_vocabulary_that_takes_all_parameters_is_refused_with_a_number_that_suits() -> None:
    settings = {"embedding_dim": 32}
    match = match_budget(settings, ["gru", "rnn"], 150_000, 5000)
    with pytest.raises(ConfigError, match=r"5,000 symbols leaves room for 1 .* Try --params \d+,"):
        check_sizes(match, settings, 5000)
    try:
        check_sizes(match, settings, 5000)
    except ConfigError as error:
        suggested = int(str(error).split("--params ")[1].split(",")[0])
    check_sizes(match_budget(settings, ["gru", "rnn"], suggested, 5000), settings, 5000)


def test_given_block_is_respected() -> None:
    request = ComparisonRequest(cells=("gru", "lru"), settings={**SETTINGS, "block": "none"})
    assert request.base_settings["block"] == "none"
