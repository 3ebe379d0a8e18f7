"""Page of an inspected run."""

import math
import re

from example_reports import inspection_report

from charlm.reporting.html.inspect import paragraphs, render_inspection, shade_class, token_view
from charlm.reporting.wording.text import describe_retention, describe_text_origin
from charlm.results.inspection import InspectedText


def test_constant_retention_is_shown_as_a_time() -> None:
    assert describe_retention(math.exp(-1 / 64)) == (
        "It forgets in about 64 characters, always at the same rate."
    )
    assert describe_retention(1.01) == "It does not forget." and describe_retention(None) == ""


def test_values_become_shades() -> None:
    assert [shade_class(value, "gate") for value in (0, 0.5, 1)] == ["g0", "g5", "g10"]
    assert [shade_class(value, "signed") for value in (-1, -0.01, 0.3)] == ["n10", "n0", "p3"]
    assert token_view("a", False, 4.0)[:3] == ("a", "s5", "4.00 bits")
    unknown = token_view("\n", True, 100.0)
    assert unknown == ("↵", "s10 unknown", "100.00 bits, never seen in training", True)


def test_equations_have_remarks_and_prose_has_none() -> None:
    assert paragraphs("h = f h    state\nf = 1\n\nSome\nprose") == [
        [("h = f h", "state"), ("f = 1", "")],
        [("", "Some prose")],
    ]


def test_each_unit_has_a_cell_per_token_and_variable() -> None:
    report = inspection_report()
    page = render_inspection(report).decode()
    cells = re.findall(r"<i class=\w+ title=\S+></i>", page)
    assert len(cells) == sum(len(trace.values) for unit in report.units for trace in unit.traces)
    assert page.count(' long">') == 2 * len(report.units)  # the two control characters


def test_features_are_shown_only_with_a_survey() -> None:
    with_survey = render_inspection(inspection_report()).decode()
    assert "Units that follow the text" in with_survey and "Gate saturation" in with_survey
    assert "Selected for bracket depth (−0.80 on the test split)" in with_survey
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
