"""The figure of a unit: state, gates and text."""

import re
from xml.etree import ElementTree

import msgspec
from example_reports import inspection_report

from charlm.reporting.belt_figure import MAX_TOKENS, MAX_UNITS, render_belt_svg


def texts(svg: bytes) -> list[str]:
    """Return the texts of a figure, in order."""
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]


def test_belt_figure_names_unit_and_every_variable() -> None:
    report = inspection_report()
    shown = " ".join(texts(render_belt_svg(report)))
    for unit in report.units[:MAX_UNITS]:
        assert f"layer {unit.layer}, unit {unit.unit}" in shown
        for trace in unit.traces:
            assert re.search(rf"{re.escape(trace.variable)} +\w", shown), trace.variable


def test_belt_figure_stays_the_same_and_shows_the_beginning_of_a_long_text() -> None:
    report = inspection_report()
    count = len(report.tokens)
    repeats = -(-(MAX_TOKENS + 1) // count)
    unit = msgspec.structs.replace(
        report.units[0],
        traces=[
            msgspec.structs.replace(trace, values=list(trace.values) * repeats)
            for trace in report.units[0].traces
        ],
    )
    long = msgspec.structs.replace(report, tokens=["x"] * count * repeats, units=[unit])
    svg = render_belt_svg(long)
    assert svg == render_belt_svg(long)
    assert texts(svg).count("x") == MAX_TOKENS


def test_belt_figure_escapes_control_characters() -> None:
    report = inspection_report()
    tokens = ["\x1b", "<", *report.tokens[2:]]
    svg = render_belt_svg(msgspec.structs.replace(report, tokens=tokens))
    assert b"\x1b" not in svg and "<" in texts(svg)
