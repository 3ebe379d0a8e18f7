"""Two runs on one text, aligned by character."""

from pathlib import Path

import msgspec
import pytest
from conftest import make_run
from inspected_models import inspect_string, open_model
from page_parser import Page

from charlm.errors import DataError
from charlm.inspection.inspect_run import check_readable
from charlm.inspection.model_comparison import character_costs, compare_models, has_same_splits
from charlm.inspection.text_choice import decode_bytes, display_characters
from charlm.reporting.html.inspect import render_inspection

TEXT = "The old é cat.\n"


def test_bytes_add_up_to_characters() -> None:
    assert character_costs([1, 2, 3, 4], "aéb", "bytes") == [1, 5, 4]
    assert character_costs([1, 2, 3], "aéb", "chars") == [1, 2, 3]
    assert decode_bytes("aé".encode()[:2], is_truncated=True) == "a"
    text = decode_bytes(b"a\xff", is_truncated=False)
    assert display_characters(text) == ["a", "\\xff"]


def test_models_with_different_vocabularies_are_compared_by_character(
    tmp_path: Path, book: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = open_model(tmp_path / "a", book)
    second = open_model(tmp_path / "b", book, vocab="bytes", cell="gru")
    reports = [inspect_string(*opened, TEXT) for opened in (first, second)]
    comparison = compare_models(TEXT, *reports, has_same_splits(first[0], second[0]))
    assert comparison.has_same_splits and comparison.characters == list(TEXT)
    for report, bits in zip(reports, (comparison.bits, comparison.other_bits), strict=True):
        assert len(bits) == len(TEXT) and sum(bits) == pytest.approx(sum(report.bits), abs=1e-2)
    assert len(reports[1].bits) == len(TEXT) + 1  # é has two bytes
    (unknown,) = [word for word in comparison.words if word.word == "é"]
    assert unknown.is_unknown and unknown.start == 8 and unknown.bits > 20
    differences = [abs(word.bits - word.other_bits) for word in comparison.words]
    assert differences == sorted(differences, reverse=True) and min(differences) >= 0.1
    with pytest.raises(DataError, match=r"bytes that are not UTF-8, and .*run reads characters"):
        check_readable("a\udcff", [first[0], second[0]])

    report = msgspec.structs.replace(reports[0], comparison=comparison)
    page = Page(render_inspection(report))
    text = " ".join(page.text.split())
    assert "Where they differ most" in text and "(unknown to one)" in text
    assert "run (1) and run (2) on one text" in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    other, *_ = make_run(tmp_path / "c", book, split_ratios="80/10/10")
    assert not has_same_splits(first[0], other)
