"""Hostile text in outputs: nothing becomes active, and the checks see it where something does."""

import pytest
from faults.hostile_outputs import (
    PAYLOADS,
    Sink,
    active,
    command,
    entries,
    find_failures,
    formula,
    make_sinks,
    markup,
    raw,
)


def test_no_payload_is_active_in_any_text() -> None:
    """Pages are drawn by Matplotlib, which takes seconds: see test_html_pages."""
    sinks = [sink for sink in make_sinks() if not sink.name.startswith("page")]
    assert len(sinks) > 12
    assert list(find_failures(sinks, len(PAYLOADS))) == []


@pytest.mark.parametrize("problem", [active, formula, command, markup, entries, raw])
def test_each_check_finds_text_that_is_not_escaped(problem: object) -> None:
    sink = Sink("raw", lambda text: f"{text}\n", problem)  # type: ignore[arg-type]
    assert list(find_failures([sink], len(PAYLOADS)))
