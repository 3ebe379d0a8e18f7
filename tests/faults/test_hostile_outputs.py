"""Hostile text in outputs: nothing becomes active, and the checks see it where something does."""

from html import escape

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


def test_escaped_text_that_a_style_shows_is_not_active() -> None:
    def render(text: str) -> str:
        style = '<style>td::before { content: attr(data-head) ": "; color: red }</style>'
        return f'{style}<td data-head="{escape(text)}">{escape(text)}</td>'

    assert list(find_failures([Sink("card", render, active)], len(PAYLOADS))) == []


@pytest.mark.parametrize(
    "page",
    [
        '<td data-head="{raw}"></td>',
        "<td data-head={raw}></td>",
        '<td style="background: {text}"></td>',
        '<td data-url="{text}"></td>',
        '<a href="{text}"></a>',
        '<style>td {{ background: attr(data-head type(<url>)); }}</style><td data-head="{text}">',
        '<style>td {{ content: attr(data-head url); }}</style><td data-head="{text}"></td>',
    ],
)
def test_text_that_a_page_loads_or_does_not_escape_is_found(page: str) -> None:
    render = lambda text: page.format(raw=text, text=escape(text))  # noqa: E731
    assert list(find_failures([Sink("planted", render, active)], len(PAYLOADS)))
