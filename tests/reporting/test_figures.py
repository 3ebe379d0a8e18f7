"""Figures: lines, means, axes and tables of numbers."""

import math
import re
from typing import Any

import pytest

from charlm.reporting.figures import (
    FigureSpec,
    Reference,
    Series,
    draw_figure,
    make_legend,
    mean_series,
)
from charlm.reporting.line_labels import LABEL_DISTANCE


def draw(*lines: Series, **spec: Any) -> str:
    """Return the SVG of these lines."""
    groups = [line.group for line in lines]
    return draw_figure(
        "figure", FigureSpec("title", "x", "y", **spec), lines, make_legend(groups)
    ).svg


def strokes(svg: str) -> list[tuple[str, str]]:
    """Return color and width of each line."""
    return re.findall(r"stroke: (var\(--line-\d\))[^\"]*?stroke-width: ([\d.]+)", svg)


def test_seeds_are_thin_and_means_thick() -> None:
    seeds = [Series(f"gru {seed}", "gru", [1, 2], [1.0, seed]) for seed in (2, 4)]
    other = Series("rnn 0", "rnn", [1, 2], [0, 3])
    assert mean_series(seeds) == ([1, 2], [1, 3])
    lines = [width for color, width in strokes(draw(*seeds, other)) if color == "var(--line-0)"]
    assert lines.count("0.8") == 2 and "2" in lines
    assert "0.8" not in [
        width for color, width in strokes(draw(*seeds, other)) if color != "var(--line-0)"
    ]


def test_missing_value_leaves_a_gap() -> None:
    whole, gap = (draw(Series("a", "a", [1, 2, 3, 4], [1, y, 3, 4])) for y in (2, None))
    assert re.search(r'd="M \S+ \S+ L \S+ \S+ L \S+ \S+ L \S+ \S+ "', whole)
    assert not re.search(r'd="M \S+ \S+ L \S+ \S+ L \S+ \S+ L \S+ \S+ "', gap)
    assert math.isnan(
        mean_series([Series("a", "a", [1], [None]), Series("b", "a", [1], [2])])[1][0]
    )


def test_unconnected_points_have_no_line() -> None:
    connected, points = (
        draw(Series("b", "gru", range(30), [1] * 30), connect_points=flag) for flag in (True, False)
    )
    marks = [len(re.findall("<use[^>]+var", svg)) for svg in (connected, points)]
    assert strokes(connected) and not strokes(points) and marks == [0, 30]


def test_text_is_text_in_colors_of_the_page() -> None:
    svg = draw(
        Series("a", "a", [1, 1000], [0.001, 1]),
        log_x=True,
        log_y=True,
        references=[Reference("chance", 0.5)],
    )
    for label in ("1,000", "0.001"):
        assert f">{label}</text>" in svg
    assert set(re.findall(r"(?:stroke|fill): ([^;\"]+)", svg)) <= {
        *("none", "currentColor", "var(--line-0)")
    }
    assert "#0" not in svg and "font-family" not in svg


def label_heights(svg: str) -> dict[str, float]:
    """Return where names stand: y of each text that begins with a letter."""
    found = re.findall(r'<text[^>]* y="([\d.-]+)">([a-z][^<]*)</text>', svg)
    return {name: float(y) for y, name in found}


def test_names_stand_at_the_ends_of_their_lines_and_do_not_overlap() -> None:
    lines = [
        Series("gru 0", "gru", [1, 2], [1.0, 2.0]),
        Series("lstm 0", "lstm", [1, 2], [1.0, 1.99]),
        Series("rnn 0", "rnn", [1, 2, 4], [1.0, 1.0, None]),
    ]
    heights = label_heights(draw(*lines, references=[Reference("chance", 0.0)]))
    assert sorted(heights, key=heights.__getitem__) == ["gru", "lstm", "rnn", "chance"]
    assert heights["lstm"] - heights["gru"] == pytest.approx(LABEL_DISTANCE, abs=0.1)
    assert heights["chance"] - heights["rnn"] > 50


def test_foreign_name_in_a_figure_is_text() -> None:
    name = '<script> $x$ \x1b[0m "'
    svg = draw(Series(name, name, [1, 2], [1, 2]))
    assert "<script" not in svg and "\x1b" not in svg and "&lt;script&gt;" in svg


def test_range_of_shares_is_whole() -> None:
    svg = draw(Series("a", "a", [10, 20], [0.4, 0.5]), log_x=True, y_range=(0, 1))
    for tick in ("0.00", "1.00", "10", "20"):
        assert f">{tick}</text>" in svg


def test_more_cells_than_colors_differ_in_dashes() -> None:
    legend = make_legend([f"cell {number}" for number in range(21)])
    assert len({(entry.color, entry.dash) for entry in legend}) == 21


def test_values_off_a_logarithmic_axis_are_left_out() -> None:
    svg = draw(Series("a", "a", [0, 1, 2], [0, -1, 0]), log_x=True, log_y=True)
    assert "nan" not in svg.lower() and "inf" not in svg.lower()
    deep = draw(Series("a", "a", [1, 2, 3], [1, 1e-6, 1e-300]), log_y=True)
    assert "10⁻¹²" in deep and "10⁻³⁰⁰" not in deep
