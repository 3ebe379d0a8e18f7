"""Page of a comparison on a task."""

import msgspec
from example_reports import task_result

from charlm.reporting.figures import make_legend
from charlm.reporting.html.tasks import length_table, render_tasks, seed_series, task_figures
from charlm.reporting.wording.tasks import summarize_task_comparison


def test_figures_have_solved_accuracy_and_steps() -> None:
    report = task_result().report
    figures = task_figures(report, make_legend([row.name for row in report.rows]))
    assert [figure.spec.title for figure in figures] == [
        "Survived to here",
        "Accuracy",
        "Accuracy at 2 times the length",
        "Accuracy at 4 times the length",
        "Training until solved",
    ]
    (chance,) = figures[1].spec.references
    assert chance.name == "chance" and ">chance</text>" in figures[1].svg
    assert "cell.py:MyCell seed 0" not in figures[-1].heads  # it has solved nothing


def test_lines_end_where_a_seed_stopped() -> None:
    report = task_result().report
    lines = {line.name: line for line in seed_series(report, lambda level: level.steps)}
    assert lines["gru seed 2"].y == [600, 700, 1000, None]
    assert lines["lstm seed 0"].y == [600, 700, None, None]


def test_table_has_a_row_per_length_with_chance() -> None:
    heads, rows = length_table(task_result().report)
    assert heads == ["", "chance", "gru", "lstm", "cell.py:MyCell"]
    assert rows[3] == [
        "length 100",
        "12.5% (34.4% without a look-up)",
        "2 of 3 (40% to 80%)",
        "0 of 3 (0% to 40%)",
        "0 of 3 (0% to 40%)",
    ]


def test_summary_names_the_longest_solved_length() -> None:
    report = task_result().report
    assert summarize_task_comparison(report) == (
        "gru: up to length 100 in the lower median of 3 seeds. It is the longest length that was "
        "tried."
    )
    unsolved = msgspec.structs.replace(report, rows=report.rows[2:])
    assert summarize_task_comparison(unsolved) == (
        "Most seeds of each cell do not even solve length 10."
    )
    assert b"at least 99 % of the answers are correct" in render_tasks(task_result())
