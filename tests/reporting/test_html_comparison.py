"""Page of a comparison: what it says follows from the report."""

import re

import msgspec
import pytest
from example_reports import (
    comparison_report,
    comparison_result,
    entry_row,
    probes_report,
    wobbly_curve,
)

from charlm.reporting.figures import make_legend
from charlm.reporting.formatting import format_number
from charlm.reporting.html.comparison import learning_curves, probe_sections, render_comparison
from charlm.reporting.html.forest import forest_plot
from charlm.results.comparison import EntryRow, ValidationPoint, Verdict


def judged_row(name: str, low: float, high: float) -> EntryRow:
    """Return a row with this confidence interval."""
    verdict = Verdict(
        label="worse",
        difference=(low + high) / 2,
        ci_low=low,
        ci_high=high,
        p=0.01,
        p_holm=0.02,
        p_tost_holm=1.0,
    )
    return entry_row(name, verdict=verdict)


def test_curves_are_against_characters_seconds_and_flops() -> None:
    page = render_comparison(comparison_result()).decode()
    page = page[page.index("Learning curves") :]
    tables = re.findall(r'<table>\n<tr><th scope="col">(.+?)</table>', page, re.S)
    rows = [re.findall("<td>(.*?)</td>", table)[:4] for table in tables]
    assert rows[0][0] == "1,000" and rows[0][1] == format_number(wobbly_curve(0, 2)[0])
    assert rows[1][0] == "1"  # second of rnn seed 0
    # FLOPs: forward, and twice that backward
    assert rows[2][0] == format_number(1000 * 3 * 40_000)


def test_differences_are_drawn_with_intervals_in_order_of_rows() -> None:
    rows = [judged_row("gru", -2, -1), judged_row("rnn", 2, 4)]
    (figure,) = forest_plot(rows, 1.0, make_legend(["rnn", "reference", "gru"]))
    assert figure.rows[0][:4] == ("gru", "-1.5000", "-2.0000", "-1.0000")
    drawn = re.findall(r'd="M (\S+) (\S+) L (\S+) (\S+) "[^>]*?var\(--line-(\d)\)', figure.svg)
    (left, top, right, same, first), (low, bottom, high, _, second) = drawn
    assert (first, second) == ("2", "0") and same == top and float(top) < float(bottom)
    pixels_per_bit = float(right) - float(left)
    assert float(high) - float(low) == pytest.approx(2 * pixels_per_bit, rel=0.01)
    (band,) = re.findall(r'd="M (\S+) \S+ L \S+ \S+ L (\S+) [^>]*?opacity: 0.12', figure.svg)
    edges = [float(right), float(low) - pixels_per_bit]
    assert [float(x) for x in band] == pytest.approx(edges, abs=0.1)


def test_no_forest_plot_without_an_interval() -> None:
    assert forest_plot([entry_row("gru")], 1.0, make_legend(["gru"])) == []


def test_diverging_run_does_not_distort_figures() -> None:
    report = comparison_report([entry_row("gru", flops_per_character=10)], "gru")
    diverging = (ValidationPoint(320, 1.0, 5.0), ValidationPoint(640, 2.0, 1e24))
    never = (ValidationPoint(320, 1.0, 1e22),)
    figures = learning_curves(report, {"gru": (diverging, never)}, make_legend(["gru"]))
    assert len(figures) == 3
    assert "1e+2" not in figures[0].svg
    assert all("seed 1" not in str(figure.heads) for figure in figures)


def test_probed_runs_have_names_and_order_of_the_rows() -> None:
    rows = [
        entry_row("slow", runs=("run-3", "run-0")),
        entry_row("fast", runs=("run-2",)),
    ]
    report = probes_report(runs=4)
    runs = tuple(run for run in report.runs if run.name != "run-1")
    probes = {
        name: msgspec.structs.replace(
            probe,
            outcomes={run: value for run, value in probe.outcomes.items() if run != "run-1"},
        )
        for name, probe in report.probes.items()
    }
    first, *_ = probe_sections(msgspec.structs.replace(report, runs=runs, probes=probes), rows)
    heads, *_ = first.numbers
    assert heads[1:] == ["slow", "fast"]
    shown = {head for head in first.figures[0].heads if head.startswith("run-")}
    assert shown == {"run-0", "run-2", "run-3"}


def test_transformer_is_a_baseline_and_not_judged() -> None:
    page = render_comparison(comparison_result()).decode()
    result, baselines = page.split("<h2>Baselines</h2>")
    assert "transformer" not in result
    assert "attention in 4 residual blocks of 100, 20,000 parameters" in baselines


def test_existing_runs_say_what_differs() -> None:
    result = comparison_result()
    matching = msgspec.structs.replace(result.report.matching, measure=None, max_steps=None)
    report = msgspec.structs.replace(
        result.report,
        kind="runs",
        matching=matching,
        differing_settings={"dropout": {"rnn": 0.0, "gru": 0.5}},
        tuning=None,
    )
    page = render_comparison(msgspec.structs.replace(result, report=report)).decode()
    assert "These are existing runs: nothing was matched" in page
    assert "They differ in --dropout 0 (rnn), 0.5 (gru)." in page
