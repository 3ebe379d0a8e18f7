"""Lines of text on narrow terminals: folded between words, and paths between their parts."""

import io
import sys
from collections.abc import Callable

import pytest
from example_reports import (
    comparison_result,
    inspection_report,
    probes_report,
    task_result,
    tuning_report,
)

from charlm import console
from charlm.console import fold
from charlm.reporting.terminal.cleanup import print_cleanup
from charlm.reporting.terminal.comparison import print_comparison
from charlm.reporting.terminal.inspection import print_inspection
from charlm.reporting.terminal.probes import print_probes
from charlm.reporting.terminal.tables import print_fields
from charlm.reporting.terminal.tasks import print_task, print_task_list, print_task_report
from charlm.reporting.terminal.tuning import print_tuning
from charlm.results.cleanup import CleanupReport, Skipped, Surplus
from charlm.tasks.base import TASKS, make_example

LONG = "/home/somebody/experiments/of/this/year/runs/gru-s0-1234567890abcdef"
COMPARISON, REPORT = comparison_result(), task_result()
PRINTERS: dict[str, Callable[[], None]] = {
    "comparison": lambda: print_comparison(COMPARISON.report, COMPARISON.timing),
    "tuning": lambda: print_tuning(tuning_report(["gru", "lstm"])),
    "inspection": lambda: print_inspection(inspection_report()),
    "probes": lambda: print_probes(probes_report()),
    "tasks": lambda: print_task_list([TASKS[name].documentation for name in TASKS]),
    "task": lambda: print_task(make_example(TASKS["copy"], 12)),
    "task report": lambda: print_task_report(REPORT.report, REPORT.timing),
    "cleanup": lambda: print_cleanup(
        CleanupReport(
            format=1,
            size=9,
            surplus=(Surplus(path=f"{LONG}/checkpoints/step-1/x", kind="temporary", size=9),),
            skipped=(Skipped(path=LONG, reason="damaged"),),
            removed=False,
        )
    ),
    "fields": lambda: print_fields([("estimate", "12:34 for all, " * 9), ("run", LONG)]),
    "message": lambda: console.print_message(f"results are in {LONG}: report.html, report.json"),
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None], int], list[str]]:
    """Return the lines that a function prints on a terminal of some width, on both streams."""

    def show(printer: Callable[[], None], columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.setattr(sys, "stderr", terminal)
            printer()
        return terminal.getvalue().splitlines()

    return show


def words_of(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split() if not set(word) <= {"─", "—"}}


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize("name", PRINTERS)
def test_no_word_or_number_is_broken(
    name: str, columns: int, shown: Callable[[Callable[[], None], int], list[str]]
) -> None:
    wide = (1000, 100)  # the table of a comparison has another form where it is less wide
    whole = {word for width in wide for word in words_of(shown(PRINTERS[name], width))}
    lines = shown(PRINTERS[name], columns)
    parts = {part for word in whole for part in word.split("/")}
    broken = {w for w in words_of(lines) - whole if not {*w.split("/")} - {""} <= parts}
    assert not broken, broken
    assert not [line for line in lines if console.text_columns(line.rstrip()) > columns], lines


def test_paths_fold_between_their_parts() -> None:
    assert fold(f"run {LONG}", 30, "  ") == [
        "run /home/somebody/",
        "  experiments/of/this/year/",
        "  runs/gru-s0-1234567890abcdef",
    ]
    assert "".join(part.strip() for part in fold(LONG, 25)) == LONG
    assert fold("x" * 50, 20) == ["x" * 50]  # there is no better place
    assert fold("a  b", 0) == fold("a  b", 9) == ["a  b"]
    assert fold("漢字 漢字", 5) == ["漢字", "漢字"]
    assert fold("name        one two", 15, " " * 12) == ["name        one", "            two"]


def test_only_terminals_fold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console.print_message(f"next: charlm sample {LONG}")
    console.print_result("word " * 30)
    output = capsys.readouterr()
    assert output.err.count("\n") == output.out.count("\n") == 1


def test_commands_and_code_are_never_folded(
    shown: Callable[[Callable[[], None], int], list[str]],
) -> None:
    line = f"next: charlm sample {LONG} --trust-cell cell.py:Mine"
    assert shown(lambda: console.print_message(line, verbatim=True), 40) == [line]
    assert shown(lambda: console.print_result(line, verbatim=True), 40) == [line]
