"""What qualifies the answer of a comparison: a sentence for each thing, and none without cause."""

import msgspec
from example_reports import (
    comparison_report,
    comparison_result,
    entry_row,
    example_budget,
    example_verdict,
    judged,
)

from charlm.config import FORMAT_VERSION
from charlm.reporting.wording.findings import (
    describe_bracket,
    describe_cpu,
    describe_equal,
    describe_failures,
    describe_falling,
    describe_findings,
    describe_gradient,
    describe_linear_cells,
    describe_ngrams,
    describe_order,
    describe_pairs,
    describe_unmeasured,
)
from charlm.results.probe_limits import NotFinite
from charlm.results.timing import CpuBreakdown, TimingReport
from charlm.results.verdicts import Power, Unmeasured

BUDGET = example_budget(["gru", "lstm"])


def test_diverged_seeds_are_a_share_beside_the_median_of_the_others() -> None:
    rows = [
        entry_row("gru"),
        entry_row("rnn", [None, 2.0, 2.1, 4.0], "diverged"),
        entry_row("lru", [None, None], "diverged"),
    ]
    assert describe_failures(comparison_report(rows, "gru")) == [
        "rnn: 1 of 4 seeds diverged; median of the others 2.100 bits/char.",
        "lru: all 2 seeds diverged.",
    ]


def test_order_at_parts_of_the_budget() -> None:
    assert describe_order(BUDGET) == (
        "The order by validation was not the same. At 1/8 (156,250 characters): lstm, gru. At 1/3 "
        "(416,667 characters): gru, lstm. At all (1,250,000 characters): gru, lstm."
    )
    stable = msgspec.structs.replace(BUDGET, order_is_stable=True)
    assert describe_order(stable) == (
        "The order by validation was the same at 1/8, 1/3 and all of the budget: gru, lstm."
    )
    assert describe_order(msgspec.structs.replace(BUDGET, order_is_stable=None)) == ""
    assert describe_order(msgspec.structs.replace(BUDGET, points=BUDGET.points[-1:])) == ""


def test_falling_is_said_above_two_margins() -> None:
    report = comparison_report([entry_row("gru")], "gru")  # a margin of 0.01
    for fall, words in ((0.021, "still falling, so this is about early"), (0.019, "hardly any")):
        budget = msgspec.structs.replace(BUDGET, bits_per_doubling={"gru": fall, "lstm": 0.001})
        sentence = describe_falling(report, budget)
        assert sentence.startswith(f"The last doubling of the budget brought gru {fall:.3f}, lstm")
        assert words in sentence
    nothing = msgspec.structs.replace(BUDGET, bits_per_doubling={})
    assert describe_falling(report, nothing) == ""


def test_ngram_of_what_a_run_has_read_comes_first() -> None:
    assert describe_ngrams(comparison_result("").report) == (
        "An n-gram of the 1,250,000 characters that a run has read needs 2.300 bits/char (order "
        "5). Baselines of all of train: n-gram  2.200, transformer 2.500 bits/char. Compressors, "
        "which go on learning from the test text: xz 1.700 bits/char."
    )
    assert describe_ngrams(comparison_report([entry_row("gru")], "gru")) == ""
    report = comparison_result("").report
    at_edge = tuple(msgspec.structs.replace(item, is_at_edge=True) for item in report.baselines)
    text = describe_ngrams(msgspec.structs.replace(report, baselines=at_edge))
    assert "(order 5, the highest that was tried)" in text
    strong = tuple(msgspec.structs.replace(item, bits_per_char=1.5) for item in report.baselines)
    text = describe_ngrams(msgspec.structs.replace(report, baselines=strong))
    assert "needs 1.500 bits/char (order 5), fewer than any cell. " in text


def test_bracket_warns_with_the_option_that_helps() -> None:
    gru, *others = BUDGET.bracket
    warning, rest = describe_bracket(BUDGET)
    assert warning == (
        "gru: its recipe does not fit this text. After 625,000 characters the best learning rate "
        "is 1.36 [1.10, 1.36] × that of the recipe, which loses 0.100 bits. Try --trials 6."
    )
    assert rest.startswith(
        "Best learning rate after 625,000 characters, over that of the recipe: "
        "lstm 0.68 [0.50, 1.36]"
    )
    assert rest.endswith(". None of these recipes is shown to be wrong.")
    assert "gru" not in rest
    assert describe_bracket(msgspec.structs.replace(BUDGET, bracket=(gru,))) == [warning]
    assert describe_bracket(msgspec.structs.replace(BUDGET, bracket=tuple(others))) == [rest]
    assert describe_bracket(msgspec.structs.replace(BUDGET, bracket=())) == []


def test_bracket_says_why_a_fit_is_unknown() -> None:
    unknown = msgspec.structs.replace(BUDGET.bracket[0], fit=None)
    low, middle, high = unknown.points
    diverged = msgspec.structs.replace(
        unknown, points=(low, middle, msgspec.structs.replace(high, bits=None))
    )
    for bracket, why in (
        (unknown, "one seed does not show by how much runs differ"),
        (diverged, "all runs at 2 × its learning rate diverged"),
    ):
        assert describe_bracket(msgspec.structs.replace(BUDGET, bracket=(bracket,))) == [
            f"gru: whether its recipe fits this text is unknown, as {why}."
        ]


def test_gradient_reach() -> None:
    assert describe_gradient(BUDGET).startswith("The gradient reached 64 characters back")


def test_equal_has_its_margin_and_unclear_what_could_be_shown() -> None:
    power = Power(seeds=20, smallest_margin=0.045)
    unclear = example_verdict("inconclusive", -0.03, 0.045, power=power)
    equal = example_verdict("equivalent", -0.004, 0.004)
    rows = [
        entry_row("gru", label="reference"),
        entry_row("lstm", quality=judged([2.0] * 6, unclear)),
        entry_row("rnn", quality=judged([2.0] * 6, equal)),
    ]
    assert describe_equal(comparison_report(rows, "gru")) == (
        "Equal means: quality within 0.01 bits/char (these data could show only: lstm 0.045 "
        "bits/char)."
    )
    only_equal = comparison_report([rows[0], rows[2]], "gru")
    assert describe_equal(only_equal) == "Equal means: quality within 0.01 bits/char."
    worse = entry_row("rnn", quality=judged([2.0] * 6, example_verdict("worse", 0.1, 0.2)))
    assert describe_equal(comparison_report([rows[0], worse], "gru")) == ""


def test_pairs_without_the_reference_are_told_with_both_quantities() -> None:
    report = comparison_result(cells=("gru", "lstm", "rnn")).report
    first, *_ = describe_pairs(report)
    assert first == (
        "lstm against rnn: quality -0.108 [-0.138, -0.078] better, beyond 64 +11 [+5, +17] more."
    )
    assert not any("gru" in sentence for sentence in describe_pairs(report))
    assert describe_pairs(msgspec.structs.replace(report, pairs=())) == []


def test_linear_cells_in_residual_blocks_or_bare() -> None:
    assert describe_linear_cells([], []) == []
    (sentence,) = describe_linear_cells(["lru"], [])
    assert sentence.startswith("lru is linear in the state, so all cells are in residual blocks")
    (sentence,) = describe_linear_cells([], ["lru", "rg-lru"])
    assert sentence.startswith("lru and rg-lru are linear in the state and bare, as asked for")
    assert sentence.endswith("Try --block residual.")


def test_missing_quantities_say_why_once() -> None:
    missing = tuple(
        Unmeasured(quantity=quantity, cause="disabled") for quantity in ("beyond_64", "word_again")
    )
    report = comparison_report([entry_row("gru")], "gru", unmeasured=missing)
    assert describe_unmeasured(report) == [
        "Not measured, because it was not asked for: beyond 64, word again."
    ]


def test_missing_quantities_of_one_entry_say_whose_runs_have_none() -> None:
    missing = tuple(
        Unmeasured(
            quantity=quantity,
            cause="not_applicable",
            reason=NotFinite(),
            entry="gru",
            seeds=seeds,
        )
        for quantity, seeds in (("beyond_64", 6), ("word_again", 6), ("order_reach", 1))
    )
    report = comparison_report([entry_row("gru")], "gru", unmeasured=missing)
    why = "because the model's outputs are not finite, since its training diverged"
    assert describe_unmeasured(report) == [
        f"Not measured of gru (6 seeds), {why}: beyond 64, word again.",
        f"Not measured of gru (1 seed), {why}: order to.",
    ]


def test_share_of_cpu_in_judged_runs() -> None:
    cpu = CpuBreakdown(
        judged_updates=600.0,
        branches=50.0,
        looks=50.0,
        scores=60.0,
        bracket=100.0,
        trials=0.0,
        transformer=0.0,
        probes=100.0,
        start_up=25.0,
        workers=5.0,
        command=10.0,
    )
    timing = TimingReport(format=FORMAT_VERSION, command="", cells={}, cpu=cpu)
    assert describe_cpu(timing) == (
        "Of 16:40 of CPU time, 60 % went into updates of the runs that are judged; with those of "
        "their branches, 65 %."
    )
    assert describe_cpu(TimingReport(format=FORMAT_VERSION, command="", cells={})) == ""


def test_all_sentences_fit_a_report_with_and_without_a_budget() -> None:
    result = comparison_result()
    sentences = describe_findings(result.report, result.timing)
    assert all(sentence and sentence.endswith(".") for sentence in sentences)
    existing = msgspec.structs.replace(
        result.report, budget=None, pairs=(), baselines=(), rows=result.report.cells
    )
    assert describe_findings(existing, result.timing) == [
        "cell.py:MyCell: 1 of 6 seeds diverged; median of the others 2.430 bits/char."
    ]
