"""The answer of a comparison: it calls a cell best only where its intervals say so."""

from collections.abc import Sequence

import msgspec
import pytest
from example_reports import comparison_report, entry_row, example_verdict, judged

from charlm.reporting.wording.answer import answer_comparison
from charlm.reporting.wording.quantities import (
    find_verdict,
    format_difference,
    format_difference_interval,
    format_interval,
    format_quantity,
    verdict_word,
)
from charlm.results.comparison import ComparisonReport, EntryRow
from charlm.results.verdicts import (
    InsufficientData,
    JudgedQuantity,
    Label,
    Memory,
    PairVerdict,
    Verdict,
)

REFERENCE = Verdict(label="reference")


def row(
    name: str,
    bits: float,
    verdict: Verdict = REFERENCE,
    beyond: float | None = None,
    memory_verdict: Verdict = REFERENCE,
) -> EntryRow:
    """Return a row with these bits and, unless it is None, this memory beyond 64 characters."""
    memory = None
    if beyond is not None:
        memory = Memory(
            beyond_64=judged([beyond] * 6, memory_verdict, 0.006),
            word_again=None,
            order_reach=None,
            curve=None,
        )
    return entry_row(name, [bits] * 6, quality=judged([bits] * 6, verdict), memory=memory)


def report(
    *rows: EntryRow, pairs: Sequence[PairVerdict] = (), reference: str = "gru"
) -> ComparisonReport:
    """Return a report of these rows."""
    return comparison_report(rows, reference, pairs=tuple(pairs))


def pair(quantity: JudgedQuantity, cell: str, other: str, verdict: Verdict) -> PairVerdict:
    """Return a verdict on a pair."""
    return PairVerdict(quantity=quantity, cell=cell, other=other, verdict=verdict)


def verdict(label: Label, middle: float, error: float = 0.02) -> Verdict:
    """Return a verdict with this difference."""
    return example_verdict(label, middle - error, middle + error)


def test_answer_names_the_best_of_both_with_intervals() -> None:
    rows = [
        row("lstm", 2.3, verdict("better", -0.1), 0.012, verdict("worse", -0.015, 0.008)),
        row("gru", 2.4, beyond=0.027),
    ]
    assert answer_comparison(report(*rows)) == (
        "lstm predicts best, with 2.300 [2.280, 2.320] bits/char, 0.100 [0.080, 0.120] fewer than "
        "gru, the next; gru remembers most: 27 [21, 33] mbit/char lost when all beyond 64 "
        "characters is other text, 15 [7, 23] more than lstm, the next."
    )


def test_one_cell_may_be_best_in_both() -> None:
    rows = [
        row("gru", 2.3, beyond=0.027),
        row("lstm", 2.4, verdict("worse", 0.1), 0.012, verdict("worse", -0.015, 0.008)),
    ]
    assert "; it also remembers most: 27 " in answer_comparison(report(*rows))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (
            "inconclusive",
            "gru and lstm predict best with 2.400 and 2.410 bits/char, a difference of -0.010 "
            "[-0.030, +0.010] that is unclear.",
        ),
        (
            "equivalent",
            "gru and lstm predict equally well within 0.01 bits/char (2.400 and 2.410).",
        ),
    ],
)
def test_no_cell_is_best_without_a_verdict_that_says_so(label: Label, words: str) -> None:
    rows = [row("gru", 2.4), row("lstm", 2.41, verdict(label, 0.01))]
    assert answer_comparison(report(*rows)) == words


def test_a_third_cell_that_is_clearly_behind_is_not_among_the_best() -> None:
    rows = [
        row("gru", 2.4),
        row("lstm", 2.41, verdict("inconclusive", 0.01)),
        row("rnn", 2.6, verdict("worse", 0.2)),
    ]
    pairs = [pair("bits_per_char", "rnn", "lstm", verdict("worse", 0.19))]
    assert answer_comparison(report(*rows, pairs=pairs)).startswith("gru and lstm predict best")
    equal = [rows[0], row("lstm", 2.41, verdict("equivalent", 0.01)), rows[2]]
    assert answer_comparison(report(*equal, pairs=pairs)) == (
        "gru and lstm predict best, equally well within 0.01 bits/char (2.400 and 2.410)."
    )
    unclear = [*rows[:2], row("rnn", 2.6, verdict("inconclusive", 0.2, 0.3))]
    assert answer_comparison(report(*unclear, pairs=pairs)).startswith(
        "no cell is shown to predict best: gru, lstm and rnn have 2.400, 2.410 and 2.600 bits/char"
    )


def test_pairs_decide_where_the_reference_is_not_the_best() -> None:
    rows = [
        row("lstm", 2.3, verdict("better", -0.1)),
        row("rnn", 2.35, verdict("better", -0.05)),
        row("gru", 2.4),
    ]
    pairs = [pair("bits_per_char", "rnn", "lstm", verdict("worse", 0.05))]
    assert answer_comparison(report(*rows, pairs=pairs)).startswith(
        "lstm predicts best, with 2.300 [2.280, 2.320] bits/char, 0.050 [0.030, 0.070] fewer than "
        "rnn, the next"
    )
    assert answer_comparison(report(*rows)) == (
        "lstm predicts better than the reference, 0.100 [0.080, 0.120] fewer than gru, and has "
        "the best mean."
    )


def test_nobody_remembers_if_no_interval_is_above_zero() -> None:
    rows = [
        row("gru", 2.3, beyond=0.003),
        row("lstm", 2.4, verdict("worse", 0.1), 0.001, verdict("inconclusive", -0.002, 0.008)),
    ]
    assert answer_comparison(report(*rows)).endswith(
        "; no cell is shown to remember that far back: at most 3 [-3, 9] mbit/char (gru) lost when "
        "all beyond 64 characters is other text."
    )


def without_interval(row: EntryRow) -> EntryRow:
    """Return a row without intervals, as there are too few seeds."""
    assert row.memory and row.memory.beyond_64
    replace = msgspec.structs.replace
    beyond = replace(row.memory.beyond_64, ci_low=None, ci_high=None)
    return replace(row, memory=replace(row.memory, beyond_64=beyond))


def test_cell_that_was_not_measured_is_not_said_to_remember_nothing() -> None:
    lost = row("lstm", 2.3, verdict("better", -0.1))
    words = "mbit/char lost when all beyond 64 characters is other text"
    for beyond, said in (
        (0.0, f"gru showed no memory: 0 [-6, 6] {words}"),
        (
            0.003,
            f"that gru remembered that far back is not shown: at most 3 [-3, 9] mbit/char (gru) "
            f"{words.removeprefix('mbit/char ')}",
        ),
        (0.027, f"gru remembers 27 [21, 33] {words.replace('char ', 'char, ', 1)}"),
    ):
        assert answer_comparison(report(row("gru", 2.4, beyond=beyond), lost)).endswith(
            f", the next; {said}; of lstm that was not measured."
        )


def test_no_cell_has_the_highest_of_equal_zeros() -> None:
    nothing = verdict("equivalent", 0.0, 0.0)
    zeros = [row("gru", 2.3, beyond=0.0), row("lstm", 2.4, verdict("worse", 0.1), 0.0, nothing)]
    missing = Verdict(label="inconclusive", insufficient=None)
    alone = [row("gru", 2.3, beyond=0.0), row("lstm", 2.4, verdict("worse", 0.1), 0.0002, missing)]
    words = "mbit/char lost when all beyond 64 characters is other text."
    assert answer_comparison(report(*zeros)).endswith(
        f"; no cell showed any memory: 0 [-6, 6] {words}"
    )
    assert answer_comparison(report(*map(without_interval, alone))).endswith(
        f"; no cell showed any memory: 0 {words}"
    )
    some = [alone[0], row("lstm", 2.4, verdict("worse", 0.1), 0.002, missing)]
    assert answer_comparison(report(*map(without_interval, some))).endswith(
        f"; lstm has the highest mean of memory, 2 {words}"
    )


def test_too_few_seeds_give_a_mean_and_no_verdict() -> None:
    missing = InsufficientData(cause="seeds", available=2, needed=6)
    nothing = Verdict(label="inconclusive", insufficient=missing)
    rows = [row("gru", 2.4), row("lstm", 2.5, nothing)]
    rows = [
        msgspec.structs.replace(
            each, quality=msgspec.structs.replace(each.quality, ci_low=None, ci_high=None)
        )
        for each in rows
    ]
    assert answer_comparison(report(*rows)) == (
        "gru has the lowest mean, 2.400 bits/char, but there can be no verdict."
    )
    assert answer_comparison(report(rows[0])) == "gru predicts with 2.400 bits/char."


def test_all_seeds_diverged() -> None:
    rows = [entry_row(name, [None, None], "diverged") for name in ("gru", "lstm")]
    assert answer_comparison(report(*rows)) == (
        "No cell has a result: all seeds of all cells diverged."
    )


def test_no_word_without_an_interval() -> None:
    assert verdict_word("bits_per_char", Verdict(label="worse", difference=0.1)) == ""
    assert verdict_word("bits_per_char", verdict("worse", 0.1)) == "worse"
    assert verdict_word("beyond_64", verdict("worse", 0.1)) == "less"
    assert verdict_word("word_again", verdict("better", 0.1)) == "more"
    assert verdict_word("order_reach", verdict("equivalent", 0.1)) == "equal"
    assert verdict_word("order_reach", verdict("inconclusive", 0.1)) == "unclear"


def test_numbers_have_the_unit_of_their_quantity() -> None:
    assert (
        format_quantity("beyond_64", 0.0274) == "27" and format_quantity("beyond_64", None) == "-"
    )
    assert format_quantity("beyond_64", -0.0001) == "0"  # no negative zero
    assert format_interval("word_again", 0.1, 0.255) == "[0.10, 0.26]"
    assert format_interval("word_again", None, 0.2) == ""
    assert format_difference("bits_per_char", 0.0004) == "0.000"
    assert format_difference("bits_per_char", -0.0144) == "-0.014"
    assert format_difference("beyond_64", 0.0144) == "+14"
    # reaches differ in octaves, and are told as factors
    assert format_difference("order_reach", -1.0) == "×0.50"
    reach = example_verdict("worse", -2.0, 0.0)
    assert format_difference_interval("order_reach", reach) == "[0.25, 1.00]"
    assert format_difference_interval("beyond_64", example_verdict("worse", -0.02, 0.001)) == (
        "[-20, +1]"
    )


def test_verdict_on_a_pair_is_the_same_from_both_sides() -> None:
    rows = [row("gru", 2.3), row("lstm", 2.4, example_verdict("worse", 0.08, 0.13))]
    found = report(*rows)
    assert find_verdict(found, "bits_per_char", "lstm", "gru") == rows[1].quality.verdict
    reverse = find_verdict(found, "bits_per_char", "gru", "lstm")
    assert reverse and (reverse.label, reverse.ci_low, reverse.ci_high) == ("better", -0.13, -0.08)
    assert find_verdict(found, "beyond_64", "gru", "lstm") is None
