"""The figure of how far back each cell remembers: names at their lines, on any background."""

import itertools
import re
from xml.etree import ElementTree

import msgspec
import pytest
from example_reports import comparison_report, comparison_result, entry_row

from charlm.reporting.figures import make_legend
from charlm.reporting.html.answer_table import memory_table
from charlm.reporting.line_labels import spread_labels
from charlm.reporting.memory_figure import (
    LABEL_HEIGHT,
    NEUTRAL_LINES,
    NEUTRAL_TEXT,
    memory_svg,
    render_memory_svg,
)
from charlm.results.comparison import ComparisonReport

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: bytes) -> dict[str, tuple[float, float, str]]:
    """Return x, y and style of each text of a figure."""
    root = ElementTree.fromstring(svg)
    return {
        element.text or "": (
            float(element.attrib["x"]),
            float(element.attrib["y"]),
            element.attrib["style"],
        )
        for element in root.iter(f"{SVG}text")
    }


def luminance(color: str) -> float:
    """Return the relative luminance of a color such as #2b83c6."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def with_curves(names: list[str]) -> ComparisonReport:
    """Return a report of these cells."""
    return comparison_result("", names).report


@pytest.mark.parametrize("color", [*NEUTRAL_LINES, NEUTRAL_TEXT])
def test_colors_of_the_file_are_readable_on_white_and_on_black(color: str) -> None:
    for background in ("#ffffff", "#0d1117"):
        dark, light = sorted((luminance(color), luminance(background)))
        assert (light + 0.05) / (dark + 0.05) >= 3.4, background


def test_each_name_stands_at_its_line_in_its_color() -> None:
    svg = render_memory_svg(with_curves(["gru", "lstm", "rnn"]))
    found = texts(svg)
    for name, color in zip(("gru", "lstm", "rnn"), NEUTRAL_LINES, strict=False):
        assert found[name][2] == f"fill: {color}"
    assert found["n-gram"][2] == f"fill: {NEUTRAL_TEXT}"
    assert found["gru"][1] < found["lstm"][1] < found["rnn"][1] < found["n-gram"][1]
    drawn = ElementTree.fromstring(svg).iter(f"{SVG}path")
    thick = [path for path in drawn if path.attrib.get("stroke-width") == "2.6"]
    assert len(thick) == 3 + 1 + 1  # three cells, the custom cell, and the n-gram
    (start,) = re.findall(r"^M\S+ (\S+?)L", thick[1].attrib["d"])
    assert float(start) == pytest.approx(found["gru"][1] - 5, abs=0.1)


def test_seeds_are_thin_and_the_mean_has_a_band() -> None:
    svg = render_memory_svg(with_curves(["gru"])).decode()
    assert svg.count('stroke-width="0.9"') == 2 * 6  # gru and the custom cell, six seeds each
    assert svg.count('opacity="0.12"') == 2


def test_names_never_overlap() -> None:
    names = [f"cell-{number}" for number in range(12)]  # three values of memory, so many ties
    svg = render_memory_svg(with_curves(names))
    found = texts(svg)
    heights = sorted(found[name][1] for name in [*names, "n-gram"])
    for above, below in itertools.pairwise(heights):
        assert below - above >= LABEL_HEIGHT - 0.11  # coordinates have one decimal
    height = float(
        re.findall(rb'viewBox="0 0 480 (\d+)"', render_memory_svg(with_curves(names)))[0]
    )
    assert heights[0] > 0 and heights[-1] < height


def test_labels_move_only_as_far_as_they_must() -> None:
    assert spread_labels([10.0, 50.0], 16, 100) == [10.0, 50.0]
    assert spread_labels([50.0, 52.0], 16, 100) == [50.0, 66.0]
    assert spread_labels([100.0, 95.0], 16, 100) == [100.0, 84.0]  # up, where there is no room


def test_a_missing_value_is_a_gap_and_foreign_names_are_text() -> None:
    report = with_curves(["gru"])
    row = report.rows[0]
    assert row.memory and row.memory.curve
    curve = msgspec.structs.replace(row.memory.curve, mean=(0.1, None, 0.05, 0.01))
    memory = msgspec.structs.replace(row.memory, curve=curve)
    row = msgspec.structs.replace(row, name="<b>\x1b\u202e" + "x" * 50, memory=memory)
    svg = render_memory_svg(msgspec.structs.replace(report, rows=(row,), ngram_memory=()))
    (name,) = (text for text in texts(svg) if text.startswith("<b>"))
    assert len(name) == 18 and "\x1b" not in name
    (path,) = re.findall(rb'd="(M[^"]+)"[^>]+stroke-width="2.6"', svg)
    assert path.count(b"M") == 2 and path.count(b"L") == 1


def test_page_and_file_show_the_same_in_colors_of_their_own() -> None:
    report = with_curves(["gru", "lstm"])
    page = str(memory_svg(report, make_legend([row.name for row in report.cells])))
    file = render_memory_svg(report).decode()
    assert "var(--line-0)" in page and "var(" not in file and "currentColor" not in file
    assert re.findall(r'd="([^"]+)"', page) == re.findall(r'd="([^"]+)"', file)
    assert render_memory_svg(report) == render_memory_svg(report)
    heads, rows = memory_table(report)
    assert heads == ["k", "gru", "lstm", "cell.py:MyCell", "n-gram"]
    assert rows[1][:2] == ["64", "27 [23, 31]"] and rows[1][-1] == "0"


def test_ngram_is_shown_where_cells_are() -> None:
    report = with_curves(["gru"])
    nearer = msgspec.structs.replace(report, ngram_memory=((1, 0.9), *report.ngram_memory))
    assert render_memory_svg(nearer) == render_memory_svg(report)
    assert memory_table(nearer) == memory_table(report)


def test_no_figure_without_a_curve() -> None:
    assert render_memory_svg(comparison_report([entry_row("gru")], "gru")) == b""
