"""Rows of a comparison: their scores, units and seeds."""

from charlm.results.comparison import ComparisonReport, EntryRow, Unit
from charlm.results.verdicts import SeedSummary


def cell_rows(report: ComparisonReport) -> list[EntryRow]:
    """Return the rows of the cells, without the Transformer."""
    return [row for row in report.rows if row.role == "cell"]


def bits(row: EntryRow, unit: Unit) -> SeedSummary:
    """Return an entry's scores in this unit."""
    return row.bits_per_char if unit == "bits_per_char" else row.bits_per_byte


def short_unit(unit: Unit) -> str:
    """Return the unit as a column head."""
    return unit.replace("bits_per_", "bits/")


def long_unit(unit: Unit) -> str:
    """Return the unit in words."""
    return unit.replace("_", " ").replace("char", "character")


def format_error(row: EntryRow) -> str:
    """Return how far an entry misses the matched budget."""
    return "-" if row.relative_error is None else f"{row.relative_error:+.2%}"


def format_seed_range(row: EntryRow, unit: Unit) -> str:
    """Return the lowest and the highest seed of a cell."""
    summary = bits(row, unit)
    if summary.min is None or summary.max is None:
        return f"{row.diverged} diverged"
    diverged = f", {row.diverged} diverged" if row.diverged else ""
    return f"{summary.min:.3f}–{summary.max:.3f}{diverged}"
