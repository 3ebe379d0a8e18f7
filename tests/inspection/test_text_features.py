"""Features of a text per character."""

import pytest

from charlm.inspection.text_features import text_features


def test_features_follow_the_text() -> None:
    features = {
        name: "".join(f"{int(value):x}" for value in values)
        for name, values in text_features('x "(y" [z]\n  w\n').items()
    }
    assert features == {
        "inside a quote": "001110000000000",
        "bracket depth": "000111122111111",
        "indentation": "000000000001220",
        "column": "123456789a01230",
        "end of a word": "100010001000010",
    }


@pytest.mark.parametrize("empty", ["\n", " \n"])
def test_empty_line_closes_everything(empty: str) -> None:
    features = text_features('("\n' + empty + "y")
    assert features["inside a quote"][[1, 2, -1]].tolist() == [1, 1, 0]
    assert features["bracket depth"][[1, 2, -1]].tolist() == [1, 1, 0]
    assert text_features(")(")["bracket depth"].tolist() == [0, 1]


def test_lines_may_end_with_carriage_return() -> None:
    features = text_features('("\r\n  \r\n x\r\n')
    assert features["inside a quote"].tolist() == [0, 1, 1, 1] + [1, 1, 1, 0] + [0] * 4
    assert features["bracket depth"].tolist() == [1, 1, 1, 1] + [1, 1, 1, 0] + [0] * 4
    assert features["indentation"].tolist() == [0, 0, 0, 0] + [1, 2, 2, 0] + [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ('x "y" z', "0011000"),
        ("x “y” z", "0011000"),
        ("x „y“ “z”", "001100110"),
        ("x «y “z» z", "0011111000"),
        ("x» “it’s ‘y’”", "0001111111110"),
    ],
)
def test_quote_is_closed_by_mark_of_its_kind(text: str, inside: str) -> None:
    assert "".join(f"{int(value)}" for value in text_features(text)["inside a quote"]) == inside


def test_empty_text_has_empty_features() -> None:
    assert all(values.shape == (0,) for values in text_features("").values())
