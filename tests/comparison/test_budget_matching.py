"""Budget matching: all cells have the same budget within 1 %, at the nearest that allows it."""

import logging
from typing import Any

import pytest

from charlm.cells.base import CELLS
from charlm.comparison.budget_matching import (
    BUDGET_MEASURES,
    SizeSearch,
    budget_config,
    match_budget,
    nearest_budgets,
    with_hidden_size,
)
from charlm.config import validate_config
from charlm.errors import ConfigError
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.reporting.wording.matching import describe_matching

SYMBOLS = 90


SETTINGS = (
    {},
    {"num_layers": 2, "initial_state": "learned"},
    {"tie_weights": True},
    {"block": "residual", "conv": 3},
)
KINDS = [(settings, measure) for measure in ("params", "flops", "state") for settings in SETTINGS]
# Every kind with the LSTM and with cells whose units come in steps; the others with one each.
CASES = [(*kind, cell) for kind in KINDS for cell in ("lstm", "clockwork", "deltanet")]
CASES += [(*KINDS[number % len(KINDS)], cell) for number, cell in enumerate(CELLS)]


@pytest.mark.parametrize(("settings", "measure", "cell"), CASES, ids=str)
def test_hidden_size_is_nearest_to_budget(
    settings: dict[str, Any], measure: str, cell: str
) -> None:
    config = validate_config({"embedding_dim": 8, "hidden_size": 8, **settings, "cell": cell})
    if cell == "depth-gated-lstm" and config.block == "residual":
        cause = "cannot use --block residual: .* cannot be added. Try --block none"
        with pytest.raises(ConfigError, match=cause):
            match_budget({"embedding_dim": 8, **settings}, [cell], 3000, SYMBOLS, measure)
        return
    amount = {"params": 3000, "flops": 200_000, "state": 150}[measure]
    sizes = SizeSearch(config, SYMBOLS, measure, CharLM)
    hidden, step = sizes.nearest(amount), CELLS[cell].size_multiple()

    def missed(units: int) -> int:
        return abs(
            BUDGET_MEASURES[measure](with_hidden_size(config, units), SYMBOLS, CharLM) - amount
        )

    near = (max(step, hidden - step), hidden, hidden + step)
    assert (
        missed(hidden)
        == min(map(missed, near))
        == abs(round(sizes.relative_error(amount) * amount))
    )
    if measure == "params":
        model = build_char_lm(with_hidden_size(config, hidden), SYMBOLS, "loop", "cpu")
        assert sum(p.numel() for p in model.parameters()) == sizes.amount_at(hidden)


def test_all_cells_have_requested_parameters_within_one_percent() -> None:
    found = match_budget({"embedding_dim": 32}, [*CELLS], 150_000, SYMBOLS)
    assert set(found.hidden_sizes) == set(found.relative_errors) == set(CELLS)
    assert abs(found.amount - 150_000) <= 1_500  # cells whose units come in fours are coarse
    assert max(map(abs, found.relative_errors.values())) <= 0.01
    matching = found.matching(320_000, 2000)
    assert (matching.measure, matching.amount) == ("params", found.amount)
    assert (matching.characters, matching.max_steps) == (320_000, 2000)
    assert matching.tolerance == 0.01 >= matching.max_relative_error
    expected = f"All cells have {found.amount:,} parameters (within 1 %)"
    assert describe_matching(matching) == expected


@pytest.mark.parametrize("measure", ["flops", "state"])
def test_other_measures_are_those_of_reference_lstm(measure: str) -> None:
    cells = ["rnn", "gru", "lstm"]
    found = match_budget({"embedding_dim": 32}, cells, 150_000, SYMBOLS, measure)
    like = budget_config({"embedding_dim": 32}, SYMBOLS)(150_000)
    assert (like.cell, like.hidden_size, found.relative_errors["lstm"]) == (
        "lstm",
        found.hidden_sizes["lstm"],
        0,
    )
    for cell in cells:
        config = validate_config(
            {"embedding_dim": 32, "cell": cell, "hidden_size": found.hidden_sizes[cell]}
        )
        has = BUDGET_MEASURES[measure](config, SYMBOLS, CharLM)
        assert (
            has / found.amount - 1 == found.relative_errors[cell]
            and abs(found.relative_errors[cell]) <= 0.01
        )
    assert "as an LSTM of 150,000 parameters" in describe_matching(found.matching(None, 2000))
    # the other cells do not matter
    alone = match_budget({"embedding_dim": 32}, ["rnn"], 150_000, SYMBOLS, measure)
    assert alone.hidden_sizes == {"rnn": found.hidden_sizes["rnn"]}


def test_coarse_cells_take_nearest_suitable_budget(caplog: pytest.LogCaptureFixture) -> None:
    cells = ["gru", "clockwork", "slstm"]
    with pytest.raises(
        ConfigError,
        match=r"cannot match 70,000 parameters within 1 %: the nearest clockwork \(256 units\) has "
        r"[0-9,]+\. Try --params [0-9]+$",
    ):
        match_budget({"embedding_dim": 32}, cells, 70_000, SYMBOLS, adjust=False)
    with caplog.at_level(logging.INFO, "charlm"):
        found = match_budget({"embedding_dim": 32}, cells, 70_000, SYMBOLS)
    assert found.parameters != 70_000 and found.amount == found.parameters
    assert max(map(abs, found.relative_errors.values())) <= 0.01
    (line,) = caplog.messages
    assert line == (
        f"using {found.parameters:,} parameters instead of 70,000: "
        "the nearest number that suits all cells within 1 %"
    )
    caplog.clear()
    # a suitable budget is taken as it is, and no nearer one would do
    assert match_budget({"embedding_dim": 32}, cells, found.parameters, SYMBOLS) == found
    assert not caplog.messages
    nearer = 70_000 + (100 if found.parameters > 70_000 else -100) * (
        abs(found.parameters - 70_000) // 100 - 1
    )
    with pytest.raises(ConfigError):
        match_budget({"embedding_dim": 32}, cells, nearer, SYMBOLS, adjust=False)


def test_error_names_parameters_that_suit_all_cells() -> None:
    cells, settings = ["gru", "clockwork", "slstm"], {"embedding_dim": 32}
    with pytest.raises(ConfigError, match=r"within 1 %: the nearest") as raised:
        match_budget(settings, cells, 5, SYMBOLS)
    suggested = int(str(raised.value).rpartition(" ")[2])
    assert match_budget(settings, cells, suggested, SYMBOLS, adjust=False).amount == suggested


def test_suitable_budgets_are_round_and_near() -> None:
    suits = {100_000, 131_000, 149_500, 171_000, 180_000}.__contains__
    assert nearest_budgets(150_000, suits) == [131_000, 171_000]
    assert nearest_budgets(150_250, {150_000, 151_000}.__contains__) == [150_000, 151_000]
    assert nearest_budgets(150_000, {299_000}.__contains__) == [299_000]
    assert nearest_budgets(150_000, {300_000, 75_000}.__contains__) == []


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="no indrnn of at most 1,048,576 units comes near"):
        match_budget({"embedding_dim": 8}, ["indrnn"], 10**10, SYMBOLS)
