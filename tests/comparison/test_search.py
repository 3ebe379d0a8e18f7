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
from charlm.models.cost import count_parameters_and_state, meta_device
from charlm.models.initialization import initialize_cell
from charlm.models.recurrent import build_cells
from charlm.results.tuning import ChosenTrial


def test_trial_depends_on_its_number_alone() -> None:
    third = {"learning_rate": 0.0209, "dropout": 0.1, "forget_bias": "default", "grad_clip": 1.0}
    usual = Config()
    assert sample_settings(SPACE, 0) == {name: getattr(usual, name) for name in SPACE}
    assert sample_settings(SPACE, 3) == third
    for number in range(50):
        whole = sample_settings(SPACE, number)
        for left in SPACE:  # what is left out changes no other setting
            space = {name: choices for name, choices in SPACE.items() if name != left}
            assert sample_settings(space, number) == {n: whole[n] for n in space}


def test_first_trial_is_inside_the_space() -> None:
    for rates, first in (((1e-4, 1e-3), 1e-3), ((0.01, 0.1), 0.01), ((1e-3, 1.0), 0.006)):
        assert sample_settings({**SPACE, "learning_rate": rates}, 0)["learning_rate"] == first


def test_rates_are_log_uniform_and_choices_equally_frequent() -> None:
    found = [sample_settings(SPACE, number) for number in range(2000)]
    rates = [one["learning_rate"] for one in found]
    assert min(rates) >= 3e-4 and max(rates) <= 3e-2
    for tenth in range(10):
        low, high = (3e-4 * 100 ** (end / 10) for end in (tenth, tenth + 1))
        assert sum(low <= rate < high for rate in rates) == pytest.approx(200, abs=50)
    for name in ("dropout", "forget_bias", "grad_clip"):
        for choice in SPACE[name]:
            share = sum(one[name] == choice for one in found) / 2000
            assert share == pytest.approx(1 / len(SPACE[name]), abs=0.04)


def test_few_rates_leave_no_wide_gap() -> None:
    low, high = SPACE["learning_rate"]
    for trials in range(4, 40):
        rates = sorted(
            sample_settings(SPACE, number)["learning_rate"] for number in range(1, trials)
        )
        ends = [low, *rates, high]
        gaps = [math.log(after / before) for before, after in pairwise(ends)]
        assert max(gaps) < 2.2 * math.log(high / low) / trials


def test_given_settings_are_not_searched() -> None:
    assert make_search(9, {}, "") == SearchSettings(9, SPACE)
    assert "dropout" not in make_search(9, {"dropout": 0.5, "num_layers": 2}, "").space
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
            config, **sample_settings(search_space_for(SPACE, cell), number)
        )
        assert takes(tried) and count_parameters_and_state(tried, 90) == count_parameters_and_state(
            config, 90
        )


def test_best_third_goes_on_to_three_times_the_steps() -> None:
    assert rung_schedule(27, 2700) == {300: 27, 900: 9, 2700: 3}
    assert rung_schedule(10, 2700) == {300: 10, 900: 4, 2700: 2}
    assert plan_search(SearchSettings(9, SPACE), 2700).cost_in_runs == 4
    # rungs that eliminate no trial are skipped
    assert rung_schedule(4, 2700) == {300: 4, 2700: 2} and rung_schedule(2, 2700) == {2700: 2}
    assert rung_schedule(9, 2) == {1: 9, 2: 2}


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
        tuning = summarize_tuning(SPACE, results, 6.0)
        assert tuning.expected_best == pytest.approx([4.0, 3.0])  # of the first rung
        assert [trial.bits for trial in tuning.trials] == [(lost,), (2.0, 1.0)]
        assert tuning.chosen == ChosenTrial(
            number=1, steps=27, bits=1.0, settings=sample_settings(SPACE, 1)
        )
