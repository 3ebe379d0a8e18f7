"""Sentences about results."""

import msgspec
import pytest
from example_reports import (
    MATCHING,
    comparison_report,
    entry_row,
    judged,
)

from charlm.reporting.wording.baselines import baseline_table, describe_baseline
from charlm.reporting.wording.comparison import describe_carrying, describe_comparison
from charlm.reporting.wording.matching import describe_matching
from charlm.reporting.wording.text import describe_job
from charlm.reporting.wording.verdicts import (
    describe_insufficient_data,
    describe_power,
    describe_statistics,
    verdict_notes,
)
from charlm.results.baselines import BaselineResult
from charlm.results.comparison_plan import QuantityRange
from charlm.results.jobs import JobProgress
from charlm.results.text import UnitKind
from charlm.results.verdicts import InsufficientData, Power, Verdict


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
        "Bare cells, one-stream on test, 51,200 characters read by each run, each cell with its "
        "recipe"
    )
    assert describe_statistics(comparison_report(rows, "gru")) == (
        "Reference: gru. In brackets: 95 % intervals over 2 seeds and 20 files of the test split, "
        "paired. Verdicts: familywise error rate 5 % for each quantity (Holm)."
    )


@pytest.mark.parametrize(
    ("setting", "scored", "carrying"),
    [
        ("none", "on test, 51,200", "the state is carried on, also from file to file"),
        ("file", "each file from the initial state", "then each file from the initial state"),
        ("line", "each line from the initial state", "then each line from the initial state"),
        ("###", "document from the initial state (it ends with '###')", "then each document from"),
    ],
)
def test_comparison_says_where_documents_start(setting: str, scored: str, carrying: str) -> None:
    report = comparison_report([entry_row("gru"), entry_row("rnn")], "gru")
    report = msgspec.structs.replace(report, settings={**report.settings, "documents": setting})
    assert scored in describe_comparison(report)
    assert describe_carrying(report).startswith(carrying)


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        ("block", 1, "1 block of the test"),
        ("line", 1, "1 group of lines of the test"),
        ("line", 200, "200 groups of lines of the test"),
        ("file", 1, "1 file of the test"),
        ("block", 1000, "1,000 blocks of the test"),
    ],
)
def test_units_are_singular_or_plural(kind: UnitKind, count: int, words: str) -> None:
    report = comparison_report([entry_row("gru")], "gru")
    statistics = msgspec.structs.replace(report.statistics, unit_kind=kind, units=count)
    changed = msgspec.structs.replace(report, statistics=statistics)
    assert f" and {words} split" in describe_statistics(changed)


def test_missing_data_is_said_with_what_it_would_take() -> None:
    seeds = InsufficientData(cause="seeds", available=2, needed=6)
    assert describe_insufficient_data(seeds) == "6 seeds or more are needed, there are 2"
    blocks = InsufficientData(cause="units", available=5, needed=20, characters_needed=20_000)
    assert describe_insufficient_data(blocks) == (
        "a test text of 20,000 characters or more is needed: this one has 5 of 20 files or blocks"
    )
    diverged = InsufficientData(cause="reference_diverged", available=5, needed=6, diverged=1)
    assert describe_insufficient_data(diverged) == (
        "the reference diverged with 1 of 6 seeds: choose another"
    )
    power = Power(seeds=58, smallest_margin=0.02)
    assert describe_power(power, 0.01) == "about 58 seeds would detect 0.01 bits"
    too_short = Power(seeds=None, smallest_margin=0.5)
    assert describe_power(too_short, 0.01).startswith("the test text is too short")
    missing = judged([2.0, 2.0], Verdict(label="inconclusive", insufficient=seeds))
    rows = [entry_row(name, quality=missing) for name in ("rnn", "lru")]
    unclear = judged([2.0, 2.0], Verdict(label="inconclusive", power=power))
    row = entry_row("sru", quality=unclear)
    assert verdict_notes(comparison_report([entry_row("gru"), *rows, row], "gru")) == [
        "rnn, lru: no verdict: 6 seeds or more are needed, there are 2",
        "sru: quality: about 58 seeds would detect 0.01 bits",
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
        cell="attention",
        role="transformer",
        quality=judged([2.5, 2.5], None),
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
    failed = comparison_report([diverged], "gru")
    assert baseline_table(failed)[1][0][2].endswith("not tuned; 1 of 2 seeds diverged")


def test_ngram_of_what_a_run_has_read_says_so() -> None:
    read = BaselineResult(
        name="n-gram-read",
        kind="static",
        bits_per_char=2.3,
        bits_per_byte=2.3,
        order=5,
        training_tokens=1_250_000,
        training_is_partial=True,
    )
    assert describe_baseline(read) == (
        "static: interpolated Kneser-Ney on 1,250,000 tokens of train, as many as a run has read, "
        "order 5"
    )
    at_edge = describe_baseline(msgspec.structs.replace(read, is_at_edge=True))
    assert at_edge.endswith("order 5; it is the highest that was tried")


def test_jobs_report_their_latest_validation() -> None:
    assert describe_job(JobProgress()) == ""
    assert describe_job(JobProgress(bits=1.23456)) == "1.235 bits"
    assert describe_job(JobProgress(bits=1e22)) == "1e+22 bits"
    assert describe_job(JobProgress(length=20)) == "length 20"
    assert describe_job(JobProgress(length=20, accuracy=0.5)) == "length 20, 50% correct"
