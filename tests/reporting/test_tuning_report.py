"""Hyperparameter search in words, figures and tables."""

import math
from typing import Literal

import msgspec
import pytest
from example_reports import comparison_report, entry_row, tuning_report

from charlm.reporting.html.tuning import format_bits, loss_by_learning_rate, trial_table
from charlm.reporting.wording.tuning import (
    boundary_warnings,
    describe_trials,
    describe_tuning,
    format_tuning_row,
)
from charlm.results.tuning import CellTuning, ChosenTrial, Rung, SeedTuning, Settings


def seed(at_boundary: Literal["", "low", "high"], bits: float | None = 2.0) -> SeedTuning:
    """Return the search of a run that chose a trial with these bits."""
    chosen = ChosenTrial(number=0, steps=9, bits=bits, settings={"learning_rate": 0.1})
    return SeedTuning(seed=0, chosen=chosen, at_boundary=at_boundary, trials=(), expected_best=())


def test_tuning_in_words() -> None:
    report = comparison_report([entry_row("gru")], "gru", settings={"learning_rate": 0.01})
    assert describe_tuning(report) == "one learning rate 0.01, not tuned"
    recipes = msgspec.structs.replace(report, settings={})
    assert describe_tuning(recipes) == "each cell with its recipe"
    tuned = msgspec.structs.replace(report, tuning=tuning_report(["gru"]))
    assert describe_tuning(tuned).endswith("0.01, the rest tuned for each run")
    assert describe_tuning(msgspec.structs.replace(tuned, settings={})) == "tuned for each run"
    assert describe_trials(tuning_report(["gru"]).search) == (
        "9 trials for each run, drawn for it alone, which cost 2 times as much as the run"
    )


def test_choices_of_all_runs_are_a_range_or_counted() -> None:
    settings: list[Settings] = [
        {"learning_rate": rate, "forget_bias": bias}
        for rate, bias in ((0.01, "1"), (0.02, "chrono"), (0.015, "1"))
    ]
    runs = tuple(
        msgspec.structs.replace(
            seed("", bits), chosen=ChosenTrial(number=0, steps=9, bits=bits, settings=chosen)
        )
        for chosen, bits in zip(settings, (2.0, None, 3.0), strict=True)
    )
    names = ["learning_rate", "forget_bias", "dropout"]
    row = format_tuning_row("gru", CellTuning(seeds=runs), names)
    assert row["learning rate"] == "0.01–0.02" and row["forget bias"] == "2 × 1, 1 × chrono"
    assert row["dropout"] == "-" and row["valid bits"] == "2.500"


def test_choice_at_the_boundary_is_named_with_a_wider_range() -> None:
    report = tuning_report(["gru"])
    space = {"learning_rate": (0.001, 0.1)}
    report = msgspec.structs.replace(
        report,
        search=msgspec.structs.replace(report.search, space=space),
        cells={
            "gru": CellTuning(seeds=(seed("high"), seed("high"), seed(""))),
            "rnn": CellTuning(seeds=(seed(""), seed("high"))),  # not more than half of them
            "my.C": CellTuning(seeds=(seed("low"),)),
            "lru": CellTuning(seeds=(seed("high", None), seed(""))),
            "irnn": CellTuning(seeds=(seed("low", 8204.0),)),
        },
    )
    gru, mine, *lost = boundary_warnings(report)
    assert [text.split(",")[0] for text in lost] == [
        "lru: not tuned for 1 of 2 runs",
        "irnn: not tuned for 1 of 1 run",
    ]
    assert gru.startswith("gru: ") and "for 2 of 3 runs" in gru and "--lr-range 0.001..1," in gru
    assert mine.startswith("my.C: ") and "--lr-range 0.0001..0.1," in mine


@pytest.mark.parametrize("lost", [None, 6.1])
def test_no_figure_of_trials_worse_than_a_uniform_code(lost: float | None) -> None:
    report = tuning_report(["gru", "rnn"], seeds=1)
    (first,) = report.cells["rnn"].seeds
    trials = tuple(
        msgspec.structs.replace(trial, bits=(lost,), settings={"learning_rate": rate})
        for trial in first.trials
        for rate in [trial.settings["learning_rate"]]
    )
    chosen = msgspec.structs.replace(first.chosen, bits=lost)
    rnn = CellTuning(seeds=(msgspec.structs.replace(first, trials=trials, chosen=chosen),))
    report = msgspec.structs.replace(report, cells={**report.cells, "rnn": rnn})
    assert not loss_by_learning_rate(0, report, "rnn")
    assert loss_by_learning_rate(1, report, "gru")
    heads, rows = trial_table(report)
    assert {len(row) for row in rows} == {len(heads)} and len(rows) == 18
    fourth = rows[9 + 3]  # of rnn, which has no clipping in this test
    assert fourth[:3] == ["rnn", "0", "3"] and fourth[4] == "-"
    assert fourth[-2:] == [format_bits(lost), ""]


def test_figure_shows_every_trial_of_all_runs_at_each_rung_and_the_choices() -> None:
    report = tuning_report(["gru", "rnn"])
    search = msgspec.structs.replace(
        report.search, rungs=(Rung(1 / 9, 9), Rung(1 / 3, 3), Rung(1.0, 2))
    )
    first, second = report.cells["gru"].seeds
    trials = list(first.trials)
    longest = sorted(trials, key=lambda trial: trial.bits[-1] or math.inf)[:2]
    for trial in longest:
        trials[trial.number] = msgspec.structs.replace(
            trial, steps=(*trial.steps, 2700), bits=(*trial.bits, 1.0)
        )
    gru = CellTuning(seeds=(msgspec.structs.replace(first, trials=tuple(trials)), second))
    report = msgspec.structs.replace(report, search=search, cells={"gru": gru})
    (figure,) = loss_by_learning_rate(0, report, "gru")
    names = ["1/9 of the steps", "1/3 of the steps", "all of the steps", "chosen"]
    assert [entry.group for entry in figure.legend] == names
    columns = dict(zip(figure.heads, zip(*figure.rows, strict=True), strict=True))
    assert len(columns[names[0]]) == 18 and columns[names[0]].count("diverged") == 2
    assert sum(map(bool, columns[names[1]])) == 6
    assert sum(map(bool, columns[names[2]])) == 2
    rates = [f"{run.chosen.settings['learning_rate']:.4g}" for run in (first, second)]
    assert list(columns["chosen, at"][:2]) == rates
