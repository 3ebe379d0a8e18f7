"""Progress on a terminal and where there is none."""

import io
import re
import sys

import pytest

from charlm.console import print_message
from charlm.progress import Progress
from charlm.reporting.terminal import progress
from charlm.reporting.terminal.progress import JobsDisplay, TerminalProgress
from charlm.results.jobs import JobProgress, JobState
from charlm.results.training import BranchStep, CheckpointSaved, StepMetrics, ValidationMetrics


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


def step(number: int) -> StepMetrics:
    """Return the metrics of a step."""
    return StepMetrics(number, 100 * number, 2.0, 0.5, 0.006)


def test_names_of_jobs_are_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell's file may have any name."""
    terminal = use_terminal(monkeypatch)
    display = JobsDisplay(1.0)
    name = "[/x]\x1b[2J[red]m.C seed 0"
    for bits in (None, 1.2):
        display.update([JobState(name, JobProgress("", 1, 2, bits), "running")])
    display.close()
    assert "[/x]\\x1b[2J[red]m.C seed 0" in terminal.getvalue()
    assert "1.200 bits" in terminal.getvalue()


def test_running_jobs_have_bars_and_ended_jobs_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    display = JobsDisplay(1.0)
    states = [
        JobState("old", JobProgress("finished", 0, 9, 1.5), "finished"),
        JobState("one", JobProgress("", 0, 9, 1.5), "running"),
        JobState("other", JobProgress("", 0, 9, 1.5), "running"),
        JobState("later", JobProgress("", 0, 9, 1.5), "pending"),
    ]
    display.update(states)
    assert {*display.tasks} == {"", "one", "other"}
    states[1].status, states[2].status, states[2].restarts = "finished", "pending", 1
    states[3].status = "running"
    display.update(states)
    display.close()
    assert {*display.tasks} == {"", "later"}
    lines = [line.strip() for line in terminal.getvalue().replace("\r", "\n").splitlines()]
    assert any(line.endswith("one: finished 1.500 bits") for line in lines)
    assert any("other: its process was killed; restarted" in line for line in lines)
    assert not any("old: " in line for line in lines)
    assert "2 of 4 done" in terminal.getvalue()


def test_jobs_are_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    states = [
        JobState("one", JobProgress("finished", 9, 9, 1.5), "finished"),
        JobState("two", JobProgress("", 3, 9, None, 20, 0.5), "running"),
        JobState("three"),
        JobState("four", JobProgress(), "running"),
    ]
    with TerminalProgress(0.0).jobs() as update:
        update(states)
        states[2].restarts = 1
        update(states)
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    line = "1 of 4 done; two 3/9 length 20, 50% correct, four; time left: unknown"
    assert err.splitlines() == [line, "three: its process was killed; restarted", line]


def test_training_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with TerminalProgress(0.0).training(10, 100, 3.0) as update:
        update(step(6))  # of a resumed run
        update(ValidationMetrics(6, 600, 2.5))
        update(CheckpointSaved(6))
        update(step(7))
    shown = terminal.getvalue()
    assert re.search(r" 70% step 7/10 0:0\d left \S+ ch/s train 2.00 valid 2.500 bits", shown)
    assert "best" not in shown  # the last validation is the best


def test_bar_of_training_shows_a_copy_that_is_decayed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    with TerminalProgress(0.0).training(10, 100, None) as update:
        update(step(6))
        update(BranchStep(2, 7))
        assert terminal.getvalue().endswith("decayed copy: step 2 of 7")
        update(step(7))
    assert "decayed" not in terminal.getvalue().rpartition("\r")[2]


def test_message_stands_on_a_line_of_its_own_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with TerminalProgress(0.0).training(10, 100, None) as update:
        update(step(6))
        print_message("finishing this step and saving")
        update(step(7))
    shown = terminal.getvalue()
    assert re.search(r"\r *\rfinishing this step and saving\n\r 70%", shown)
    print_message("after the bar")
    assert terminal.getvalue() == f"{shown}after the bar\n"


def test_training_is_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress(0.0).training(10, 100, 2.25) as update:
        update(step(6))
        update(ValidationMetrics(6, 600, 2.5))
        update(BranchStep(2, 7))
        update(step(7))
    first, copy, second = capsys.readouterr().err.splitlines()
    assert copy == "decayed copy: step 2 of 7"
    assert re.match(
        r"step 6/10 \S+ left \S+ ch/s train 2.00 valid - best 2.250 bits lr 6e-03", first
    )
    assert "train 2.00 valid 2.500 best 2.250" in second and second.endswith(" grad 0.5")


def test_counter_prints_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress(0.0).counter("reading \x1b text") as advance:
        advance(1500)
    with TerminalProgress(60.0).counter("quiet") as advance:
        advance(1500)
    assert capsys.readouterr().err == "reading \\x1b text: 1.5k so far\n"
    with TerminalProgress(0.0).counter("probing", 4) as advance:
        advance(1)
        advance(3)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"probing: 25%, \d:\d\d left", first)
    assert second == "probing: 100%, 0:00 left"


def test_terminal_progress_is_a_progress() -> None:
    progress: Progress = TerminalProgress(1.0)
    with progress.counter("nothing") as advance:
        advance(0)
