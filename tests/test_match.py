"""Equal footing: what is equal is equal within 1 %, or it is said what would be."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from charlm.cells.base import CELLS
from charlm.comparison import time_matching
from charlm.comparison.budget_matching import (
    BUDGET_MEASURES,
    SizeSearch,
    match_budget,
    reference_config,
    suggest_budgets,
    with_hidden_size,
)
from charlm.config import validate_config
from charlm.errors import ConfigError
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM

SYMBOLS = 90


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("measure", ["parameters", "flops", "state"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_layers": 2, "initial_state": "learned"},
        {"tie_weights": True},
        {"block": "residual"},
    ],
    ids=str,
)
def test_the_hidden_size_is_the_one_that_comes_nearest(
    settings: dict[str, Any], measure: str, cell: str
) -> None:
    config = validate_config({"embedding_dim": 8, "hidden_size": 8, **settings, "cell": cell})
    if cell == "depth-gated-lstm" and config.block == "residual":
        with pytest.raises(ConfigError, match="cannot be added to what it reads. Use --block none"):
            match_budget({"embedding_dim": 8, **settings}, [cell], 3000, SYMBOLS, measure)
        return
    amount = {"parameters": 3000, "flops": 200_000, "state": 150}[measure]
    sizes = SizeSearch(config, SYMBOLS, measure, CharLM)
    hidden, step = sizes.nearest(amount), CELLS[cell].hidden_size_multiple

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
    if measure == "parameters":
        model = build_char_lm(with_hidden_size(config, hidden), SYMBOLS, "loop", "cpu")
        assert sum(p.numel() for p in model.parameters()) == sizes.at(hidden)


def test_all_cells_have_the_parameters_that_were_asked_for_within_one_percent() -> None:
    found = match_budget({"embedding_dim": 32}, [*CELLS], 150_000, SYMBOLS)
    assert set(found.hidden) == set(found.relative_errors) == set(CELLS) and found.amount == 150_000
    assert max(map(abs, found.relative_errors.values())) <= 0.01
    assert found.told == "All have 150,000 parameters (within 1 %)"


@pytest.mark.parametrize("measure", ["flops", "state"])
def test_another_measure_is_that_of_the_lstm_with_these_parameters(measure: str) -> None:
    cells = ["rnn", "gru", "lstm"]
    found = match_budget({"embedding_dim": 32}, cells, 150_000, SYMBOLS, measure)
    like = reference_config({"embedding_dim": 32}, SYMBOLS)(150_000)
    assert (like.cell, like.hidden_size, found.relative_errors["lstm"]) == (
        "lstm",
        found.hidden["lstm"],
        0,
    )
    for cell in cells:
        config = validate_config(
            {"embedding_dim": 32, "cell": cell, "hidden_size": found.hidden[cell]}
        )
        has = BUDGET_MEASURES[measure](config, SYMBOLS, CharLM)
        assert (
            has / found.amount - 1 == found.relative_errors[cell]
            and abs(found.relative_errors[cell]) <= 0.01
        )
    assert "as an LSTM of 150,000 parameters" in found.told
    # whoever else is compared
    alone = match_budget({"embedding_dim": 32}, ["rnn"], 150_000, SYMBOLS, measure)
    assert alone.hidden == {"rnn": found.hidden["rnn"]}


def test_where_a_cells_steps_are_too_coarse_the_nearest_that_suit_all_are_named() -> None:
    cells = ["gru", "clockwork", "slstm"]
    with pytest.raises(
        ConfigError, match="clockwork of 256 .*, and more than 1 % is no equal footing"
    ) as raised:
        match_budget({"embedding_dim": 32}, cells, 70_000, SYMBOLS)
    found = re.search(r"--params (\d+) or (\d+) suits all", str(raised.value))
    assert found
    below, above = map(int, found.groups())
    assert below < 70_000 < above
    for parameters in (below, above):
        match_budget({"embedding_dim": 32}, cells, parameters, SYMBOLS)
    with pytest.raises(ConfigError):
        match_budget({"embedding_dim": 32}, cells, above - 100, SYMBOLS)


def test_numbers_that_suit_are_round_and_near() -> None:
    suits = {100_000, 131_000, 149_500, 171_000, 180_000}.__contains__
    assert suggest_budgets(150_000, suits) == "--params 131000 or 171000 suits all of these cells"
    assert suggest_budgets(150_250, {150_000, 151_000}.__contains__).startswith(
        "--params 150000 or 151"
    )
    assert suggest_budgets(150_000, {299_000}.__contains__).startswith("--params 299000 suits")
    assert suggest_budgets(150_000, {300_000, 75_000}.__contains__).startswith(
        "Nor does any number near"
    )


def test_more_parameters_than_any_cell_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="no indrnn of at most 1,048,576 units comes near"):
        match_budget({"embedding_dim": 8}, ["indrnn"], 10**10, SYMBOLS)


# seconds


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7, 2.0])
@pytest.mark.parametrize(("first", "multiple"), [(20, 1), (160, 8), (2000, 4)])
def test_the_hidden_size_of_equal_seconds_is_found_in_a_few_looks(
    first: int, multiple: int, power: float
) -> None:
    looks = []

    def share(hidden: int) -> float:
        looks.append(hidden)
        return (hidden / 200) ** power

    rough, near = time_matching.secant_search(
        share, first, multiple, *time_matching.COARSE_SEARCH[::2]
    )
    assert abs(rough - 200) <= max(multiple, 8) and rough % multiple == 0
    assert len(looks) <= time_matching.COARSE_SEARCH[0] and rough in looks and near == share(rough)
    fine, near = time_matching.secant_search(
        share, rough, multiple, *time_matching.FINE_SEARCH[::2]
    )
    assert abs(near - 1) <= max(0.01, multiple / 200 * power / 2) and near == share(fine)


def test_a_search_among_noise_ends_at_the_best_that_it_saw() -> None:
    seen: dict[int, float] = {}

    def share(hidden: int) -> float:
        seen[hidden] = [3.0, 0.4, 2.0, 0.3, 1.5, 0.9][len(seen)]
        return seen[hidden]

    found, near = time_matching.secant_search(share, 100, 1, 6, 0.02)
    assert near == seen[found]
    assert abs(math.log(seen[found])) == min(abs(math.log(one)) for one in seen.values())


def test_seconds_are_measured_once_and_then_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def share_of(config: Any, like: Any, *_: Any) -> float:
        measured.append(config.cell)
        return config.hidden / (2 * like.hidden)

    monkeypatch.setattr(time_matching, "share_of", share_of)

    def footing(*cells: str, **settings: Any) -> Any:
        told = {"embedding_dim": 8, **settings}
        return time_matching.match_step_time(told, cells, 30_000, SYMBOLS, None, "cpu", tmp_path)  # type: ignore

    first = footing("lstm", "rnn")
    assert set(measured) == {"rnn"}  # the LSTM is what they are measured by
    assert first.hidden["rnn"] == pytest.approx(2 * first.hidden["lstm"], rel=0.02)
    assert first.residual["lstm"] == 0 and "as an LSTM of 30,000 parameters" in first.told
    measured.clear()
    # the budget and the seed do not decide it; another width does
    assert footing("lstm", "rnn", max_steps=7, seed=3, learning_rate=0.1) == first
    assert not measured
    more = footing("gru", "rnn")
    assert set(measured) == {"gru"} and more.hidden["rnn"] == first.hidden["rnn"]
    footing("rnn", time=9)
    assert measured[-1] == "rnn"
