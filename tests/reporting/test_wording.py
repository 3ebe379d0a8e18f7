"""Sentences about results."""

import math
from collections.abc import Sequence

import msgspec
import pytest
from example_reports import (
    MATCHING,
    comparison_report,
    comparison_result,
    entry_row,
    tuning_report,
)

from charlm.reporting.html.tuning import format_bits, loss_by_learning_rate, trial_table
from charlm.reporting.wording.baselines import baseline_table, describe_baseline
from charlm.reporting.wording.comparison import describe_comparison, summarize_comparison
from charlm.reporting.wording.matching import describe_matching
from charlm.reporting.wording.rows import format_row
from charlm.reporting.wording.tasks import describe_level
from charlm.reporting.wording.text import describe_job
from charlm.reporting.wording.tuning import boundary_warnings, describe_trials, describe_tuning
from charlm.reporting.wording.verdicts import (
    describe_insufficient_data,
    describe_power,
    describe_statistics,
    verdict_notes,
)
from charlm.results.comparison import (
    BaselineResult,
    EntryRow,
    InsufficientData,
    Power,
    QuantityRange,
    Verdict,
)
from charlm.results.jobs import JobProgress
from charlm.results.tasks import LevelResult, TaskScore
from charlm.results.tuning import CellTuning, ChosenTrial, Rung


def baseline(name: str, bits: float | None, kind: str = "static") -> BaselineResult:
    """Return a baseline with these bits per character."""
    return BaselineResult(name=name, kind=kind, bits_per_char=bits, bits_per_byte=bits)  # type: ignore[arg-type]


def summary(
    *rows: EntryRow, reference: str = "gru", baselines: Sequence[BaselineResult] = ()
) -> str:
    """Return the summary of a comparison with a margin of 0.02 bits."""
    report = comparison_report(
        rows, reference, baselines=(baseline("zstd", None, "adaptive"), *baselines)
    )
    statistics = msgspec.structs.replace(report.statistics, margin=0.02)
    return summarize_comparison(msgspec.structs.replace(report, statistics=statistics))


def test_summary_says_what_the_verdicts_say() -> None:
    reference = entry_row("gru", [2.0, 2.0], "reference")
    near = entry_row("rnn", [2.1, 2.1], "inconclusive")
    far = entry_row("lru", [1.0, 1.0], "better")
    mean = "Compared with gru (2.0000 bits per character, mean of 2 seeds), "
    assert summary(far, reference, near) == mean + "better: lru; inconclusive: rnn."
    equivalent = entry_row("sru", [2.0, 2.0], "equivalent")
    assert summary(reference, equivalent) == mean + "equivalent within 0.02 bits: sru."
    assert summary(reference) == mean + "there is no other cell."
    lost = [entry_row("lstm", [None, 2.0]), entry_row("sru", [None, None])]
    diverged = " lstm: 1 of 2 seeds diverged. sru: 2 of 2 seeds diverged."
    assert summary(far, reference, *lost) == f"{mean}better: lru.{diverged}"
    assert summary(near, *lost, reference="sru") == (
        f"Compared with sru, inconclusive: rnn.{diverged}"
    )
    assert summary(*lost, reference="sru") == (f"No cell finished with all of its seeds.{diverged}")
    single = [entry_row("gru", [2.0], "reference"), entry_row("rnn", [2.1], "inconclusive")]
    assert summary(*single).startswith(
        "Compared with gru (2.0000 bits per character, one seed), inconclusive: rnn."
    )


def test_summary_names_better_baselines() -> None:
    reference = entry_row("gru", [2.0, 2.0], "reference")
    static, adaptive = baseline("n-gram", 1.5), baseline("xz", 1.25, "adaptive")
    assert summary(reference, baselines=[static, adaptive]).endswith(
        "Fewer bits than every cell: n-gram (1.5000), xz (1.2500). (xz: adaptive compressors. They "
        "go on learning from test while they read it, and a run does not.)"
    )
    assert summary(reference, baselines=[static]).endswith(
        "Fewer bits than every cell: n-gram (1.5000)."
    )
    assert "Fewer bits" not in summary(reference, baselines=[baseline("n-gram", 2.5)])
    transformer = entry_row("transformer", [1.75], role="transformer", verdict=None)
    assert summary(transformer, reference).endswith(
        "there is no other cell. Fewer bits than every cell: transformer (1.7500)."
    )


def test_row_has_dashes_where_nothing_is_known() -> None:
    row = format_row(entry_row("gru", [None, 2.0]), "bits_per_char")
    assert row["bits/char"] == row["to ref."] == row["95 % CI"] == "-"
    assert row["verdict"] == "diverged 1 of 2"
    verdict = Verdict(label="worse", difference=0.1, ci_low=-0.1, ci_high=0.3)
    row = format_row(entry_row("gru", [2.0], verdict=verdict), "bits_per_byte")
    assert (row["bits/byte"], row["to ref."], row["95 % CI"]) == (
        "2.0000",
        "+0.100",
        "-0.100…+0.300",
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "All cells have 20,000 parameters (within 1 %)"),
        (
            {"measure": "state", "amount": 300.0},
            "All cells have 300 floats of state (within 1 %), as an LSTM of 20,000 parameters",
        ),
        (
            {"measure": "time", "amount": 1.0, "max_relative_error": 0.032},
            "All cells take the same time per step (as measured, within 3.2%), as an LSTM of "
            "20,000 parameters",
        ),
        (
            {
                "measure": None,
                "quantities": (
                    QuantityRange(name="parameters", min=100, max=101, is_equal=True),
                    QuantityRange(name="max_steps", min=100, max=2000, is_equal=False),
                ),
            },
            "These are existing runs: nothing was matched; equal within 1 %: parameters; not "
            "equal: steps (100 to 2k)",
        ),
    ],
)
def test_matching_in_words(fields: dict[str, object], text: str) -> None:
    assert describe_matching(msgspec.structs.replace(MATCHING, **fields)) == text


def test_comparison_says_how_runs_were_scored() -> None:
    rows = [entry_row("gru"), entry_row("rnn", relative_error=-0.005)]
    text = describe_comparison(comparison_report(rows, "gru"))
    assert text.startswith(
        "All cells have 20,000 parameters (within 1 %): gru +0.00%, rnn -0.50%. "
    )
    assert text.endswith(
        "Bare cells, one-stream on test, 100 steps, one learning rate 0.006, not tuned for each "
        "cell"
    )
    assert describe_statistics(comparison_report(rows, "gru")) == (
        "Reference: gru. Differences are paired over 2 seeds and 20 blocks of text. Margin 0.01 "
        "bits, familywise error rate 5 % (Holm)."
    )


def test_missing_data_is_said_with_what_it_would_take() -> None:
    seeds = InsufficientData(cause="seeds", available=2, needed=6)
    assert describe_insufficient_data(seeds) == "6 seeds or more are needed, there are 2"
    blocks = InsufficientData(cause="blocks", available=5, needed=20, characters_needed=20_000)
    assert describe_insufficient_data(blocks) == (
        "a test text of 20,000 characters or more is needed: this one has 5 of 20 blocks"
    )
    diverged = InsufficientData(cause="reference_diverged", available=5, needed=6, diverged=1)
    assert describe_insufficient_data(diverged) == (
        "the reference diverged with 1 of 6 seeds: choose another"
    )
    assert describe_power(Power(seeds=58), 0.01) == "about 58 seeds would detect 0.01 bits"
    assert describe_power(Power(seeds=None), 0.01).startswith("the test text is too short")
    rows = [
        entry_row(name, verdict=Verdict(label="inconclusive", insufficient=seeds))
        for name in ("rnn", "lru")
    ]
    power = entry_row("sru", verdict=Verdict(label="inconclusive", power=Power(seeds=7)))
    assert verdict_notes(comparison_report([entry_row("gru"), *rows, power], "gru")) == [
        "rnn, lru: 6 seeds or more are needed, there are 2",
        "sru: about 7 seeds would detect 0.01 bits",
    ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "static", "vocabulary_size": 66}, "static: uniform over 66 tokens"),
        ({"kind": "static", "order": 1}, "static: token frequencies in train"),
        (
            {
                "kind": "static",
                "order": 6,
                "max_order": 8,
                "selection_tokens": 55_770,
                "training_tokens": 1000,
                "training_is_partial": True,
            },
            "static: interpolated Kneser-Ney on the last 1,000 tokens of train, order 6 of 2 to 8, "
            "chosen on 55,770 tokens of valid",
        ),
        (
            {"kind": "adaptive", "window_bytes": 32768},
            "adaptive: C(train + test) - C(train), looks back 32 KiB",
        ),
        (
            {"kind": "adaptive", "block_bytes": 900_000},
            "adaptive: C(train + test) - C(train), in blocks of 900 kB",
        ),
        ({"kind": "adaptive"}, "adaptive: C(train + test) - C(train), looks back at all of it"),
        (
            {"kind": "adaptive", "missing_package": "zstd"},
            "not installed: pip install 'charlm[zstd]'",
        ),
    ],
)
def test_baseline_in_words(fields: dict[str, object], text: str) -> None:
    result = BaselineResult(name="b", bits_per_char=None, bits_per_byte=None, **fields)  # type: ignore[arg-type]
    assert describe_baseline(result) == text


def test_transformer_is_the_last_baseline() -> None:
    transformer = entry_row(
        "transformer",
        [2.5, 2.5],
        role="transformer",
        verdict=None,
        num_layers=4,
        hidden_size=66,
        parameters=148_632,
    )
    report = comparison_report([entry_row("gru"), transformer], "gru")
    heads, rows = baseline_table(report)
    assert heads == ["baseline", "bits/char", "description"]
    assert rows == [
        [
            "transformer",
            "2.5000",
            "static: attention in 4 residual blocks of 66, 148,632 parameters, learning rate "
            "0.006, not tuned; mean of 2 seeds",
        ]
    ]
    diverged = msgspec.structs.replace(transformer, diverged=1)
    tuned = comparison_report([diverged], "gru", tuning=tuning_report(["gru"]))
    assert baseline_table(tuned)[1][0][2].endswith("tuned as the cells were; 1 of 2 seeds diverged")


def test_tuning_in_words() -> None:
    report = comparison_report([entry_row("gru")], "gru", settings={"learning_rate": 0.01})
    assert describe_tuning(report) == "one learning rate 0.01, not tuned for each cell"
    tuned = msgspec.structs.replace(report, tuning=tuning_report(["gru"]))
    assert describe_tuning(tuned).endswith("0.01, the rest tuned for each cell")
    assert describe_tuning(msgspec.structs.replace(tuned, settings={})) == "tuned for each cell"
    assert describe_trials(tuning_report(["gru"]).search) == (
        "9 trials of each cell, which cost 2 times as much as one of its runs"
    )


def test_choice_at_the_boundary_is_named_with_a_wider_range() -> None:
    def cell(at_boundary: str, bits: float | None) -> CellTuning:
        chosen = ChosenTrial(number=0, steps=9, bits=bits, settings={"learning_rate": 0.1})
        return CellTuning(chosen=chosen, at_boundary=at_boundary, trials=(), expected_best=())  # type: ignore[arg-type]

    report = tuning_report(["gru"])
    space = {"learning_rate": (0.001, 0.1)}
    report = msgspec.structs.replace(
        report,
        search=msgspec.structs.replace(report.search, space=space),
        cells={
            "gru": cell("high", 2.0),
            "rnn": cell("", 2.0),
            "my.C": cell("low", 2.0),
            "lru": cell("high", None),
            "irnn": cell("low", 8204.0),
        },
    )
    gru, mine, *lost = boundary_warnings(report)
    assert [text.split(",")[0] for text in lost] == ["lru: not tuned", "irnn: not tuned"]
    assert gru.startswith("gru: ") and "a higher" in gru and "--lr-range 0.001..1," in gru
    assert mine.startswith("my.C: ") and "--lr-range 0.0001..0.1," in mine


@pytest.mark.parametrize("lost", [None, 6.1])
def test_no_figure_of_trials_worse_than_a_uniform_code(lost: float | None) -> None:
    report = tuning_report(["gru", "rnn"])
    trials = tuple(
        msgspec.structs.replace(trial, bits=(lost,), settings={"learning_rate": rate})
        for trial in report.cells["rnn"].trials
        for rate in [trial.settings["learning_rate"]]
    )
    chosen = msgspec.structs.replace(report.cells["rnn"].chosen, bits=lost)
    rnn = msgspec.structs.replace(report.cells["rnn"], trials=trials, chosen=chosen)
    report = msgspec.structs.replace(report, cells={**report.cells, "rnn": rnn})
    assert not loss_by_learning_rate(0, report, "rnn")
    assert loss_by_learning_rate(1, report, "gru")
    heads, rows = trial_table(report)
    assert {len(row) for row in rows} == {len(heads)} and len(rows) == 18
    fourth = rows[9 + 3]  # of rnn, which has no clipping in this test
    assert fourth[:2] == ["rnn", "3"] and fourth[3] == "-"
    assert fourth[-2:] == [format_bits(lost), ""]


def test_figure_shows_every_trial_at_each_rung_and_the_choice() -> None:
    report = tuning_report(["gru", "rnn"])
    search = msgspec.structs.replace(
        report.search, rungs=(Rung(300, 9), Rung(900, 3), Rung(2700, 2))
    )
    trials = list(report.cells["gru"].trials)
    longest = sorted(trials, key=lambda trial: trial.bits[-1] or math.inf)[:2]
    for trial in longest:
        trials[trial.number] = msgspec.structs.replace(
            trial, steps=(*trial.steps, 2700), bits=(*trial.bits, 1.0)
        )
    best = longest[0]
    chosen = ChosenTrial(number=best.number, steps=2700, bits=1.0, settings=best.settings)
    gru = msgspec.structs.replace(report.cells["gru"], trials=tuple(trials), chosen=chosen)
    report = msgspec.structs.replace(report, search=search, cells={"gru": gru})
    (figure,) = loss_by_learning_rate(0, report, "gru")
    assert [entry.group for entry in figure.legend] == [
        *("300 steps", "900 steps", "2,700 steps", "chosen")
    ]
    columns = dict(zip(figure.heads, zip(*figure.rows, strict=True), strict=True))
    assert len(columns["300 steps"]) == 9 and columns["300 steps"].count("diverged") == 1
    assert sum(map(bool, columns["900 steps"])) == 3
    assert sum(map(bool, columns["2,700 steps"])) == 2
    assert columns["chosen, at"][0] == f"{best.settings['learning_rate']:.4g}"


def test_jobs_report_their_latest_validation() -> None:
    assert describe_job(JobProgress()) == ""
    assert describe_job(JobProgress(bits=1.23456)) == "1.235 bits"
    assert describe_job(JobProgress(bits=1e22)) == "1e+22 bits"
    assert describe_job(JobProgress(length=20)) == "length 20"
    assert describe_job(JobProgress(length=20, accuracy=0.5)) == "length 20, 50% correct"


def test_level_in_one_line() -> None:
    level = LevelResult(
        length=3,
        is_solved=True,
        steps=1200,
        seconds=1.0,
        kernel="loop",
        chance=TaskScore(1.0, 0.1),
        test=TaskScore(0.01, 0.995),
        extrapolation={"2": 0.0, "4": 1.0},
        divergence="the loss is inf at length 6",
    )
    assert describe_level(level) == (
        "length 3: solved after 1,200 steps, 99.5% correct, loss 0.01; 0.0% at 2 × length, 100.0% "
        "at 4 × length; the loss is inf at length 6"
    )
    diverged = msgspec.structs.replace(level, test=None, is_solved=False)
    assert describe_level(diverged) == "length 3: diverged after 1,200 steps"
    unsolved = msgspec.structs.replace(level, is_solved=False, divergence="")
    assert describe_level(unsolved).startswith("length 3: not solved after 1,200 steps")


def test_all_notes_fit_every_report() -> None:
    report = comparison_result().report
    assert verdict_notes(report) == []
    assert "tuned for each cell" in describe_comparison(report)
