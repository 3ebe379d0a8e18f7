"""Tests of odd command lines: a sample of them, and faults that are planted are found."""

import random
from pathlib import Path

import pytest
from faults import command_lines
from faults.odd_values import odd_toml
from faults.processes import Ended

from charlm.cli import main


@pytest.mark.slow
def test_odd_command_lines_end_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    hazard = command_lines.run(0.01)
    assert hazard.trials == 50 and hazard.failures == ()
    monkeypatch.setattr(main, "describe_usage_error", lambda error: {}[error])
    hazard = command_lines.run(0)
    assert any("exit code 70" in failure for failure in hazard.failures)


def test_each_wrong_end_is_found() -> None:
    for code in (1, 70, 129, 130, -11, 99):
        assert command_lines.problem(["eval"], Ended(code, "", "charlm: x")).startswith("exit code")
    text = "Traceback (most recent call last)\n"
    assert command_lines.problem(["eval"], Ended(65, "", text)) == "a traceback"
    assert "without a message" in command_lines.problem(["eval"], Ended(65, "", ""))
    assert "raw" in command_lines.problem(["eval"], Ended(65, "", "a\x1bb"))
    assert "raw" in command_lines.problem(["eval"], Ended(0, "a\u202eb", ""))
    assert command_lines.problem(["sample", "run"], Ended(0, "a\u202eb", "")) == ""
    assert command_lines.problem(["eval"], Ended(66, "", "charlm: cannot\n")) == ""


def test_every_command_has_a_call(tmp_path: Path) -> None:
    without = {"exit-codes", "doctor", "cells list", "corpora list", "tasks list"}
    names = {" ".join(command.words) for command in command_lines.commands()}
    assert names - set(command_lines.CALLS) <= without and len(names) > 20
    lines = {odd_toml(random.Random(seed)) for seed in range(300)}
    assert len(lines) > 200
