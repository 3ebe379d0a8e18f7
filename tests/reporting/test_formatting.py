"""Numbers as text."""

import pytest

from charlm.reporting.formatting import (
    VISIBLE_SPACE,
    format_bytes,
    format_count,
    format_duration,
    format_number,
    format_tick,
    format_with_interval,
    pluralize,
)
from charlm.reporting.html import characters, inspect_units
from charlm.reporting.wording.inspection import show


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1e-5, "10⁻⁵"),
        (2e-5, "2·10⁻⁵"),
        (0.001, "0.001"),
        (1, "1"),
        (-0.5, "−0.5"),
        (4096, "4,096"),
        (2e4, "20k"),
        (1e6, "1M"),
        (2.5e12, "2.5T"),
        (1e24, "1e+24"),
    ],
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert format_tick(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (999.4, "999"),
        (999.6, "1k"),
        (45_600, "45.6k"),
        (999_499, "999k"),
        (999_960, "1M"),
        (1e6, "1M"),
        (999.6e6, "1G"),
        (2e9, "2G"),
    ],
)
def test_counts_have_three_digits(value: float, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (3.0, "3"),
        (-1.23456, "−1.235"),
        (1234.56, "1,234.6"),
        (123456.7, "123,457"),
        (1e-9, "1e−09"),
    ],
)
def test_numbers_of_tables_have_four_digits(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_durations_sizes_and_plurals() -> None:
    assert [format_duration(value) for value in (90, 3723)] == ["1:30", "1:02:03"]
    sizes = (32768, 900_000, 1 << 27, 7)
    assert [format_bytes(size) for size in sizes] == ["32 KiB", "900 kB", "128 MiB", "7 bytes"]
    assert [pluralize(count, "seed") for count in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]


@pytest.mark.parametrize(
    ("value", "low", "high", "texts"),
    [
        (0.0312, 0.0183, 0.044, ("0.031", "0.018 to 0.044")),
        (1e-7, -6.7e-5, 6.8e-5, ("0.0000", "−0.0001 to 0.0001")),
        (-1e-9, -0.2, 0.2, ("0.00", "−0.20 to 0.20")),
        (72.1, 57.8, 82.9, ("72", "58 to 83")),
        (0.85, 0.85, 0.85, ("0.8500", "0.8500 to 0.8500")),
    ],
)
def test_number_has_as_many_decimals_as_its_interval_needs(
    value: float, low: float, high: float, texts: tuple[str, str]
) -> None:
    assert format_with_interval(value, low, high) == texts


def test_white_space_has_the_same_signs_everywhere() -> None:
    for text, sign in VISIBLE_SPACE.items():
        assert characters.glyph(text).startswith(sign)
        assert inspect_units.glyph(text) == show(text) == sign
