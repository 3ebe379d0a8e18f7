"""Page of an inspected run."""

import math

from example_reports import inspection_report
from page_parser import Page

from charlm.reporting.html.inspect import render_inspection
from charlm.reporting.html.inspect_units import area, paragraphs, token_view
from charlm.reporting.wording.text import describe_retention, describe_text_origin
from charlm.results.inspection import InspectedText


def test_constant_retention_is_shown_as_a_time() -> None:
    assert describe_retention(math.exp(-1 / 64)) == (
        "It forgets in about 64 characters, always at the same rate."
    )
    assert describe_retention(1.01) == "It does not forget." and describe_retention(None) == ""


def test_values_become_shades() -> None:
    assert area([0, 0.5, 0.5, 1], 100, 100) == "M0 100V100H1V50H3V0H4V100Z"
    assert area([-1, 0], 50, 50) == "M0 50V100H1V50Z" and area([0, 0], 50, 50) == ""
    assert token_view("a", False, 4.0)[:3] == ("a", "s5", "4.00 bits")
    unknown = token_view("\n", True, 100.0)
    assert unknown == ("↵", "s10 unknown", "100.00 bits, never seen in training", True)


def test_equations_have_remarks_and_prose_has_none() -> None:
    assert paragraphs("h = f h    state\nf = 1\n\nSome\nprose", "e") == [
        [("h = f h", "state", "e-0-0"), ("f = 1", "", "e-0-1")],
        [("", "Some prose", "")],
    ]


def test_each_unit_has_a_curve_per_variable_and_a_letter_per_token() -> None:
    report = inspection_report()
    page = Page(render_inspection(report))
    curves = [attributes for tag, attributes in page.tags if tag == "svg" and "style" in attributes]
    assert len(curves) == sum(len(unit.traces) for unit in report.units)
    letters = [a for tag, a in page.tags if tag == "s" and "h 0." in (a.get("title") or "")]
    assert len(letters) >= len(report.units) * 5
    long = [a for _, a in page.tags if (a.get("class") or "").endswith(" long")]
    assert len(long) == 2 * len(report.units)  # the two control characters


def test_features_are_shown_only_with_a_survey() -> None:
    with_survey = render_inspection(inspection_report()).decode()
    assert "Units that follow the text" in with_survey and "Gate saturation" in with_survey
    assert (
        "It was selected for bracket depth on the validation split, but does not follow it: "
        "the correlation is −0.80 on the test split." in with_survey
    )
    missing = "the validation or the test split has none: inside a quote, indentation"
    assert missing in with_survey
    without = render_inspection(inspection_report(survey=False))
    assert b"follow the text" not in without and b"Gate saturation" not in without


def test_text_origin_in_words() -> None:
    texts = {
        "the beginning of the test split": InspectedText(source="test"),
        "book.txt": InspectedText(source="file", path="book.txt"),
        "the beginning of book.txt": InspectedText(
            source="file", path="book.txt", is_truncated=True
        ),
        "the given text": InspectedText(source="string"),
        "the given text, its beginning": InspectedText(source="string", is_truncated=True),
    }
    assert [describe_text_origin(text) for text in texts.values()] == list(texts)
