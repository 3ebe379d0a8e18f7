"""Page of a comparison: what it says follows from the report."""

import re
from functools import cache

import msgspec
import pytest
from example_reports import (
    comparison_report,
    comparison_result,
    entry_row,
    example_verdict,
    judged,
    probes_report,
    wobbly_curve,
)

from charlm.reporting.figures import make_legend
from charlm.reporting.formatting import format_number
from charlm.reporting.html.budget import bracket_table, budget_figures, learning_curves
from charlm.reporting.html.comparison import probe_sections, render_comparison
from charlm.reporting.html.forest import forest_plots
from charlm.reporting.html.quality_plot import quality_plot
from charlm.results.comparison import EntryRow, ValidationPoint


def judged_row(name: str, low: float, high: float) -> EntryRow:
    """Return a row with this confidence interval."""
    return entry_row(name, quality=judged([2.0, 2.0], example_verdict("worse", low, high)))


@cache
def default_page() -> str:
    """Return the page of the example, which several tests read."""
    return render_comparison(comparison_result()).decode()


def table_cells(page: str) -> list[list[str]]:
    """Return the text of each cell of the table that answers, by row."""
    table = page[page.index('<div class="answer"') :].split("</table>")[0]
    rows = re.findall("<tr>(.*?)</tr>", table, re.S)
    cells = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]
    return [[" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in row] for row in cells]


def test_page_opens_with_the_answer_and_its_table() -> None:
    page = default_page()
    order = ["gru predicts best", '<div class="answer"', '<figure class="memory">', "still falling"]
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
    groups, heads, reference, lstm, *_ = table_cells(page)
    assert groups == ["", "quality", "memory", "cost"]
    assert heads[:3] == ["cell", "bits/char", "beyond 64, mbit/char"]
    assert reference[1] == "2.083 [2.063, 2.103] reference"
    assert lstm[:3] == [
        "lstm",
        "2.192 [2.172, 2.212] +0.105 [+0.080, +0.130] worse",
        "12 [6, 18] −15 [−21, −9] less",
    ]
    assert lstm[4] == "64 [51, 77] ×0.67 [0.54, 0.82] less" and lstm[-3:] == ["5", "100", "20k"]


def test_page_without_memory_has_neither_its_columns_nor_its_figure() -> None:
    result = comparison_result()
    rows = tuple(msgspec.structs.replace(row, memory=None) for row in result.report.rows)
    report = msgspec.structs.replace(result.report, rows=rows, budget=None, tuning=None)
    page = render_comparison(msgspec.structs.replace(result, report=report)).decode()
    assert table_cells(page)[0] == ["", "quality", "cost"]
    assert '<figure class="memory">' not in page and "At parts of the budget" not in page


def test_budget_is_drawn_at_its_parts() -> None:
    report = comparison_result(cells=("gru", "lstm")).report
    (figure,) = budget_figures(report, make_legend([row.name for row in report.cells]))
    assert figure.heads == ["characters read", "gru", "lstm", "cell.py:MyCell"]
    assert [row[0] for row in figure.rows] == ["156,250", "416,667", "1,250,000"]
    assert figure.rows[2][1:3] == ("2.3", "2.4")
    assert budget_figures(comparison_report([entry_row("gru")], "gru"), make_legend(["gru"])) == []


def test_bracket_has_a_row_per_cell() -> None:
    budget = comparison_result(cells=("gru", "lstm")).report.budget
    heads, rows = bracket_table(budget)
    assert heads[2:5] == ["bits at 0.5 ×", "bits at 1 ×", "bits at 2 ×"]
    gru, lstm, _ = rows
    assert gru == ["gru", "625,000", "2.600", "2.400", "2.200", "0.030", "0.0147"] + [
        *("1.36", "[1.10, 1.36]", "0.100", "does not fit")
    ]
    assert lstm[-1] == "" and {len(row) for row in rows} == {len(heads)}
    assert budget is not None
    unknown = tuple(msgspec.structs.replace(one, fit=None) for one in budget.bracket)
    _, rows = bracket_table(msgspec.structs.replace(budget, bracket=unknown))
    assert rows[0][-4:] == ["-", "", "-", ""]
    assert bracket_table(None)[1] == []


def test_curves_are_against_characters_seconds_and_flops() -> None:
    page = default_page()
    page = page[page.index("Bits against characters") :]
    tables = re.findall(r'<table>\n<tr><th scope="col">(.+?)</table>', page, re.S)
    rows = [re.findall("<td>(.*?)</td>", table)[:4] for table in tables]
    assert rows[0][0] == "156,250"  # at parts of the budget
    assert rows[1][0] == "1,000" and rows[1][1] == format_number(wobbly_curve(0, 2)[0])
    assert rows[2][0] == "1"  # second of the first seed
    # FLOPs: forward, and twice that backward
    assert rows[3][0] == format_number(1000 * 3 * 40_000)


def test_differences_are_drawn_with_intervals_in_order_of_rows() -> None:
    rows = [judged_row("gru", -2, -1), judged_row("rnn", 2, 4)]
    report = comparison_report(rows, "reference")
    margins = {**report.statistics.margins, "bits_per_char": 1.0}
    wide = msgspec.structs.replace(report.statistics, margins=margins)
    report = msgspec.structs.replace(report, statistics=wide)
    (figure,) = forest_plots(report, make_legend(["rnn", "reference", "gru"]))
    assert figure.rows[0][:4] == ("gru", "-1.5000", "-2.0000", "-1.0000")
    drawn = re.findall(r'd="M (\S+) (\S+) L (\S+) (\S+) "[^>]*?var\(--line-(\d)\)', figure.svg)
    (left, top, right, same, first), (low, bottom, high, _, second) = drawn
    assert (first, second) == ("2", "0") and same == top and float(top) < float(bottom)
    pixels_per_bit = float(right) - float(left)
    assert float(high) - float(low) == pytest.approx(2 * pixels_per_bit, rel=0.01)
    (band,) = re.findall(r'd="M (\S+) \S+ L \S+ \S+ L (\S+) [^>]*?opacity: 0.12', figure.svg)
    edges = [float(right), float(low) - pixels_per_bit]
    assert [float(x) for x in band] == pytest.approx(edges, abs=0.1)


def test_forest_plots_of_memory_are_in_the_unit_of_the_table() -> None:
    report = comparison_result(cells=("gru", "lstm")).report
    plots = forest_plots(report, make_legend([row.name for row in report.cells]))
    titles = ["Quality", "Memory, beyond 64", "Memory, word again", "Memory, order to"]
    assert [plot.spec.title for plot in plots] == titles
    assert plots[1].rows[0][:4] == ("lstm", "-15.0000", "-21.0000", "-9.0000")
    assert plots[1].rows[0][-1] == "less" and plots[0].rows[0][-1] == "worse"
    assert plots[1].spec.x.startswith("mbit/char more than the reference; right is more")
    assert plots[3].spec.x.startswith("octaves more")


def test_cells_and_baselines_are_rows_of_one_plot_the_best_at_the_top() -> None:
    report = comparison_result(cells=("gru", "lstm")).report
    (figure,) = quality_plot(report, make_legend([row.name for row in report.cells]))
    assert [row[0] for row in figure.rows][:4] == ["xz", "gru", "lstm", "n-gram "]
    assert figure.rows[1][1:] == ("2.0833", "2.0633", "2.1033") and figure.rows[0][2] == "-"
    heights = [
        float(re.findall(rf' y="([\d.]+)">{name}</text>', figure.svg)[0])
        for name in ("xz", "gru", "lstm", "n-gram-read")
    ]
    assert heights == sorted(heights)


def test_no_forest_plot_without_an_interval() -> None:
    report = comparison_report([entry_row("gru")], "gru")
    assert forest_plots(report, make_legend(["gru"])) == []


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
    result, baselines = default_page().split("<h2>Baselines</h2>")
    assert "transformer" not in result.replace("transformer 2.500", "")  # among its findings
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
