"""Tests of console output."""

import re

from charlm.console import escape_control_characters


def test_control_characters_are_escaped() -> None:
    hostile = "a\x1b[31m\x9b\x07\x7f\u202e\u2066\u200b\ufeff\u2028\ud800\x00\r\U000e0041z\n\té漢"
    shown = escape_control_characters(hostile, keep="\n\t")
    assert shown.startswith("a\\x1b[31m\\x9b\\x07\\x7f\\u202e\\u2066\\u200b\\ufeff")
    assert shown.endswith("z\n\té漢") and "\\x00\\r" in shown and "\\U000e0041" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert escape_control_characters("a\nb") == "a\\nb"
