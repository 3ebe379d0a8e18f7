"""Measures, positions and oracles of tasks in pages, tables, records and on the terminal."""

from typing import Any

import msgspec
import pytest
from example_reports import LENGTHS, task_result

from charlm.comparison.stored_reports import task_contradiction
from charlm.reporting.figures import make_legend
from charlm.reporting.html.tasks import measure_table, render_tasks, task_figures
from charlm.reporting.tables.render import render_report
from charlm.reporting.terminal.tasks import (
    print_curriculum,
    print_task,
    print_task_report,
)
from charlm.reporting.wording.tasks import describe_criterion, format_measure
from charlm.results.tasks import (
    CurriculumReport,
    LevelResult,
    LevelSummary,
    PositionSummary,
    TaskComparisonResult,
    TaskMeasure,
    TaskReport,
    TaskScore,
)
from charlm.tasks.base import TASKS, make_example

MEASURES = (
    TaskMeasure(
        name="tracked",
        label="tracked length",
        unit="steps",
        description="longest tracked length; by chance 0",
    ),
    TaskMeasure(
        name="stale_answers",
        label="stale answers",
        unit="share",
        description="older values; by chance 12.5 %",
    ),
    TaskMeasure(name="excess", label="excess", unit="nats", description="loss above the oracle's"),
)


def measured_result(oracle: TaskScore | None = None) -> TaskComparisonResult:
    """Return a comparison with three measures and results at four positions."""

    def measured(level: LevelSummary) -> LevelSummary:
        def each(value: float) -> tuple[float | None, ...]:
            return tuple(None if accuracy is None else value for accuracy in level.accuracy)

        return msgspec.structs.replace(
            level,
            measures={"tracked": each(1234), "stale_answers": each(0.0004), "excess": each(0.25)},
            by_position=tuple(
                PositionSummary(position=end, accuracy=each(1 / end), excess_loss=each(0.1 * end))
                for end in (1, 2, 5, level.length)
            ),
        )

    result = task_result()
    rows = tuple(
        msgspec.structs.replace(row, levels=tuple(map(measured, row.levels)))
        for row in result.report.rows
    )
    chance = result.report.chance
    if oracle:
        chance = tuple(msgspec.structs.replace(each, oracle=oracle) for each in chance)
    report = msgspec.structs.replace(
        result.report, rows=rows, measures=MEASURES, chance=chance, solved_relative_loss=0.1
    )
    return msgspec.structs.replace(result, report=report)


def figures_by_name(report: TaskReport) -> dict[str, str]:
    figures = task_figures(report, make_legend([row.name for row in report.rows]))
    return {figure.name: figure.spec.y for figure in figures}


def test_page_has_a_figure_of_each_measure_and_of_positions() -> None:
    figures = figures_by_name(measured_result().report)
    assert figures["measure-tracked"] == "steps" and figures["measure-excess"] == "nats"
    assert figures["positions"] == "share of correct answers"
    random = figures_by_name(measured_result(TaskScore(1.1, 0.5)).report)
    assert random["positions"] == "nats above the oracle"
    assert "positions" not in figures_by_name(task_result().report)
    page = render_tasks(measured_result()).decode()
    assert "Further measures" in page and "longest tracked length; by chance 0" in page
    assert "Further measures" not in render_tasks(task_result()).decode()


@pytest.mark.parametrize(
    ("oracle", "at_5"), [(None, 0.2), (TaskScore(1.1, 0.5), 0.5)], ids=["accuracy", "excess"]
)
def test_figure_of_positions_has_accuracy_or_loss_above_the_oracle(
    oracle: TaskScore | None, at_5: float
) -> None:
    report = measured_result(oracle).report
    figures = task_figures(report, make_legend([row.name for row in report.rows]))
    rows = {row[0]: row[1:] for row in figures[-1].rows}
    assert figures[-1].name == "positions" and {float(value) for value in rows["5"]} == {at_5}


def test_table_of_measures_has_a_value_for_each_seed() -> None:
    heads, rows = measure_table(measured_result().report)
    assert heads == ["", "gru", "lstm", "cell.py:MyCell"] and len(rows) == 3 * len(LENGTHS)
    values = ["1,234 1,234 1,234", "1,234 1,234 1,234", "1,234 – –"]
    assert rows[0] == ["tracked length, length 10", *values]
    assert rows[4][:2] == ["stale answers, length 10", "0.040% 0.040% 0.040%"]


def test_terminal_shows_means_of_measures_and_what_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = measured_result()
    print_task_report(result.report, result.timing)
    out = capsys.readouterr().out
    assert "tracked length stale answers excess" in out and "1,234        0.040%  0.250" in out
    assert "longest tracked length; by chance 0" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_example_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    print_task(make_example(TASKS["recall-overwriting"], 2))
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "measured older values: answers that are an older value of the same key; by chance" in out
    )
    print_task(make_example(TASKS["markov"], 5, oracle=TaskScore(1.25, 0.4)))
    assert "oracle   loss 1.250000, 40.00% correct" in capsys.readouterr().out


def test_symbols_of_several_letters_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    print_task(make_example(TASKS["word-problem-s3"], 4))
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("input"))
    x, y = (line.split()[1:] for line in lines[at : at + 2])
    assert len(x) == len(y) == 4 and {len(name) for name in x + y} == {3}
    assert lines[at + 2] == " " * 21 + "^^^"


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_documents_have_a_table_of_measures(form: str) -> None:
    result = measured_result()
    text = render_report(result.report, form, result.timing)
    assert "stale answers: older values; by chance" in " ".join(text.split())
    assert "1,234" in text


def test_csv_and_rows_have_every_value_of_a_measure() -> None:
    report = measured_result().report
    lines = [line for line in render_report(report, "csv").splitlines() if "stale_answers" in line]
    tried = sum(value is not None for row in report.rows for lv in row.levels for value in lv.loss)
    assert len(lines) == tried and all("share" in line and "0.0004" in line for line in lines)
    first = report.to_dicts()[0]
    assert first["measures.excess"] == (0.25, 0.25, 0.25) and "by_position" not in first


def test_report_with_other_measures_than_declared_contradicts_itself() -> None:
    report = measured_result().report
    assert not task_contradiction(report)
    fewer = msgspec.structs.replace(report, measures=MEASURES[:2])
    assert "not the same tests" in task_contradiction(fewer)
    position = PositionSummary(position=1, accuracy=(1.0,), excess_loss=(0.0,))
    level = msgspec.structs.replace(report.rows[0].levels[0], by_position=(position,))
    levels = (level, *report.rows[0].levels[1:])
    row = msgspec.structs.replace(report.rows[0], levels=levels)
    damaged = msgspec.structs.replace(report, rows=(row, *report.rows[1:]))
    assert "not one result for each seed" in task_contradiction(damaged)


def test_criterion_names_the_oracle_where_it_makes_a_loss() -> None:
    assert describe_criterion(measured_result().report) == (
        "at least 99 % of the answers are correct, or the loss is at most 10 % of chance's"
    )
    report = measured_result(TaskScore(1.1, 0.5)).report
    random = msgspec.structs.replace(report, solved_accuracy=None)
    assert describe_criterion(random) == "the loss above the oracle's is at most 10 % of chance's"


def level_result(length: int = 20, **values: Any) -> LevelResult:
    return LevelResult(
        length=length,
        steps=1200,
        seconds=1.0,
        kernel="loop",
        chance=TaskScore(1.4, 0.25),
        **{"is_solved": True, "test": TaskScore(1.296, 0.4), "extrapolation": {}, **values},
    )


def test_curriculum_is_two_tables_of_plain_words_in_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Names of measures are those of tables, and each is explained, with chance, below."""
    measures = TASKS["formal-parity"].measures
    values = {"scaled": 0.25, "long": 0.5, "scaled_long": 0.0004}
    level = level_result(extrapolation={"2": 0.0, "4": 1.0}, measures=values)
    report = CurriculumReport(task="formal-parity", levels=(level,), measures=measures)
    print_curriculum(report)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80 and "scaled_long" not in out
    assert " ".join(lines[0].split()) == "length solved steps correct chance at 2× at 4×"
    assert lines[2].split() == ["20", "yes", "1,200", "40.0%", "25.0%", "0.0%", "100.0%"]
    assert "20 1.296 1.4 0 25.0% 50.0% 0.040%" in [" ".join(line.split()) for line in lines]
    text = " ".join(out.split())
    assert "scaled accuracy, longer words: their scaled accuracy, as in Grazzi" in text
    assert "at 2× and 4× the length without further training. loss: nats" in text


def test_curriculum_says_where_training_or_a_test_diverged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reason = "the loss is inf at length 6"
    levels = (
        level_result(3, extrapolation={"2": 0.0}, divergence=reason),
        level_result(5, test=None, is_solved=False, divergence="the loss is nan at step 9"),
    )
    print_curriculum(CurriculumReport(task="parity", levels=levels))
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["5", "diverged", "1,200", "-", "25.0%", "-"]
    assert lines[-2:] == [f"Length 3: {reason}.", "Length 5: the loss is nan at step 9."]


def test_rare_errors_keep_their_digits() -> None:
    shown = [format_measure(value, "share") for value in (0.0, 0.0004, 0.125, 0.9997, 1.0)]
    assert shown == ["0.0%", "0.040%", "12.5%", "99.970%", "100.0%"]
