"""Hyperparameter search: what is tried, which trials go on, which one is chosen."""

import math
from itertools import pairwise

import msgspec
import pytest

from charlm.cells.base import CELLS
from charlm.comparison.search import (
    SPACE,
    SearchSettings,
    TrialResult,
    boundary_side,
    make_search,
    plan_search,
    rank_trials,
    rung_schedule,
    sample_settings,
    select_best,
    summarize_tuning,
)
from charlm.comparison.tuning import search_space_for
from charlm.config import Config, validate_config
from charlm.errors import ConfigError
from charlm.models.cost import count_parameters_and_state
from charlm.models.initialization import initialize_cell
from charlm.models.recurrent import build_cells
from charlm.models.shapes import meta_device
from charlm.results.tuning import ChosenTrial

RATE = 0.01  # of the recipe


def test_first_trials_have_the_rate_of_the_recipe_with_every_bias() -> None:
    first = [sample_settings(SPACE, RATE, number, 0) for number in range(3)]
    assert [one["learning_rate"] for one in first] == [RATE] * 3
    assert [one["forget_bias"] for one in first] == ["default", "0", "chrono"]
    without_gate = {"learning_rate": SPACE["learning_rate"]}
    assert sample_settings(without_gate, RATE, 0, 0) == {"learning_rate": RATE}
    assert sample_settings(without_gate, RATE, 1, 0)["learning_rate"] != RATE
    for rates, expected in (((1e-4, 1e-3), 1e-3), ((0.1, 1.0), 0.1), ((1e-3, 1.0), RATE)):
        space = {**SPACE, "learning_rate": rates}
        assert sample_settings(space, RATE, 0, 0)["learning_rate"] == expected


def test_rates_and_biases_are_crossed() -> None:
    found = [sample_settings(SPACE, RATE, number, 4) for number in range(30)]
    rates = {one["learning_rate"] for one in found}
    assert len(rates) == 10
    assert len({tuple(one.values()) for one in found}) == 30


def test_each_seed_has_a_draw_of_its_own() -> None:
    draws = [
        tuple(sample_settings(SPACE, RATE, number, seed)["learning_rate"] for number in (3, 6, 9))
        for seed in range(6)
    ]
    assert len(set(draws)) == 6
    assert draws[2] == tuple(
        sample_settings(SPACE, RATE, number, 2)["learning_rate"] for number in (3, 6, 9)
    )


def test_few_rates_leave_no_wide_gap() -> None:
    low, high = SPACE["learning_rate"]
    space = {"learning_rate": (low, high)}
    for trials in range(4, 40):
        rates = sorted(
            float(sample_settings(space, RATE, number, trials)["learning_rate"])
            for number in range(1, trials)
        )
        gaps = [math.log(after / before) for before, after in pairwise([low, *rates, high])]
        assert max(gaps) < 2.4 * math.log(high / low) / trials


def test_given_settings_are_not_searched() -> None:
    assert make_search(9, {}, "") == SearchSettings(9, SPACE)
    assert "forget_bias" not in make_search(9, {"forget_bias": "0", "num_layers": 2}, "").space
    assert make_search(9, {"learning_rate": 0.0}, "").space == SPACE  # left to the recipe
    assert make_search(9, {}, "1e-3..1").space == {**SPACE, "learning_rate": (1e-3, 1.0)}
    for given, rates, problem in (
        (
            dict.fromkeys(SPACE, 1),
            "",
            "nothing left to search. Try to leave one of --learning-rate, --",
        ),
        ({"learning_rate": 0.1}, "1e-3..1", "cannot search --lr-range: --learning-rate fixes it"),
        ({}, "1e-3", "--lr-range 1e-3: it must be two learning rates"),
        ({}, "0.1..0.1", "the lower first"),
        ({}, "0..1", "the lower first"),
        ({}, "nan..1", "the lower first"),
        ({}, "1..inf", "the lower first"),
    ):
        with pytest.raises(ConfigError, match=problem):
            make_search(9, given, rates)


@pytest.mark.parametrize("cell", CELLS)
def test_trials_suit_the_cell_and_keep_its_size(cell: str) -> None:
    def takes(config: Config) -> bool:
        try:
            with meta_device():
                initialize_cell(build_cells(config)[0], config)
        except ConfigError:
            return False
        return True

    config = validate_config({"cell": cell, "hidden_size": 16})
    assert takes(msgspec.structs.replace(config, forget_bias="0")) == (
        "forget_bias" in search_space_for(SPACE, cell)
    )
    for number in range(4):
        tried = msgspec.structs.replace(
            config, **sample_settings(search_space_for(SPACE, cell), RATE, number, 0)
        )
        assert takes(tried) and count_parameters_and_state(tried, 90) == count_parameters_and_state(
            config, 90
        )


def test_best_third_goes_on_and_no_rung_is_shorter_than_a_quarter_or_200_steps() -> None:
    assert rung_schedule(27, 2700) == {0.25: 27, 1.0: 9}
    assert rung_schedule(6, 2700) == {0.25: 6, 1.0: 2}
    assert plan_search(SearchSettings(8, SPACE), 2700).cost_in_runs == 5
    assert rung_schedule(6, 400) == {0.5: 6, 1.0: 2}  # 200 of 400 steps
    # rungs that eliminate no trial, or are as long as a run, are skipped
    assert rung_schedule(2, 2700) == {1.0: 2} and rung_schedule(9, 200) == {1.0: 9}


def test_ranking_drops_diverged_trials_and_breaks_ties_by_number() -> None:
    rung = [TrialResult(n, 9, bits) for n, bits in enumerate([2.0, None, 1.5, 2.0, 1.5])]
    assert rank_trials(rung) == rank_trials(rung[::-1]) == [2, 4, 0, 3]


def test_best_of_longest_rung_is_chosen() -> None:
    short = [TrialResult(n, 100, bits) for n, bits in enumerate([2.0, 1.5, 2.5, None])]
    assert select_best(short).number == 1
    long = [TrialResult(0, 300, 1.9), TrialResult(1, 300, 1.9)]
    assert (
        select_best([*short, *long])
        == select_best([*long[::-1], *short])
        == TrialResult(0, 300, 1.9)
    )
    # divergence at a longer rung counts more than a good start
    assert select_best([*short, TrialResult(0, 300, None), TrialResult(1, 300, None)]).number == 2
    assert select_best([*short, TrialResult(0, 300, 3.0), TrialResult(1, 300, None)]).number == 0
    assert select_best([TrialResult(1, 100, None), TrialResult(0, 100, None)]).number == 0


def test_rate_near_a_bound_is_flagged() -> None:
    rates = (0.0004, 0.00045, 0.001, 0.01, 0.018, 0.0205, 0.029)
    sides = [boundary_side(rate, (3e-4, 3e-2)) for rate in rates]
    assert sides == ["low", "low", "", "", "", "high", "high"]


def test_expected_best_counts_no_trial_above_uniform_code() -> None:
    for lost in (None, 260.0):
        results = [TrialResult(0, 9, lost), TrialResult(1, 9, 2.0), TrialResult(1, 27, 1.0)]
        tuning = summarize_tuning(SPACE, RATE, 3, results, 6.0)
        assert tuning.seed == 3
        assert tuning.expected_best == pytest.approx([4.0, 3.0])  # of the first rung
        assert [trial.bits for trial in tuning.trials] == [(lost,), (2.0, 1.0)]
        assert tuning.chosen == ChosenTrial(
            number=1, steps=27, bits=1.0, settings=sample_settings(SPACE, RATE, 1, 3)
        )
