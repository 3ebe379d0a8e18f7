"""Delimiters that are open at each character, and brackets with their closers."""

import pytest

from charlm.data.delimiters import match_brackets, open_delimiters


def test_open_delimiters_count_opener_but_not_closer() -> None:
    in_quote, depth = open_delimiters('x "(y" [z]')
    assert "".join(f"{int(is_open)}" for is_open in in_quote) == "0011100000"
    assert depth.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 1]


@pytest.mark.parametrize("blank", ["\n", " \n"])
def test_blank_line_closes_what_was_never_closed(blank: str) -> None:
    in_quote, depth = open_delimiters('("\n' + blank + "y")
    assert in_quote[[1, 2, -1]].tolist() == [True, True, False]
    assert depth[[1, 2, -1]].tolist() == [1, 1, 0]


def test_unmatched_closer_opens_nothing() -> None:
    _, depth = open_delimiters(")(")
    assert depth.tolist() == [0, 1]


def test_brackets_are_matched_until_one_does_not_fit() -> None:
    assert match_brackets("f(a[1], {}) :-) (]) [x]") == [(3, 5), (8, 9), (1, 10), (20, 22)]
