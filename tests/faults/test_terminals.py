"""Tests of hostile text on a terminal: a sample of all sinks, and a planted fault is found."""

import re

import pytest
from faults import terminals

from charlm import console


@pytest.mark.slow
def test_hostile_text_is_never_raw_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    hazard = terminals.run(0.05)
    assert hazard.trials == 15 and hazard.failures == ()
    monkeypatch.setattr(console, "CONTROL_CHARACTERS", re.compile("(?!)"))
    hazard = terminals.run(0)
    assert any("is raw" in failure for failure in hazard.failures)


@pytest.mark.parametrize("text", terminals.HOSTILE)
def test_each_hostile_text_is_found(text: str) -> None:
    is_markup = text.startswith("[bold]")
    assert bool(terminals.problem(b"\x1b[1mname\x1b[0m " + text.encode())) != is_markup
    assert not terminals.problem(console.escape_control_characters(text).encode())
